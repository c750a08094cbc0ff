"""The balancer: contiguous blocks by what tasks really take, and nothing of the training is touched by measuring."""

import copy
import threading
import warnings

import pytest
import torch

from albench.associated import AssociatedComponent, AssociatedNetwork
from albench.engines import ComponentError, EngineOptions, make_engine
from albench.engines.balance import measure, measured_blocks
from albench.engines.engine import intra_op_threads
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import CLASSES, assert_bitwise_equal, batches, network, trained

pytestmark = pytest.mark.timeout(120)
OPTIONS = EngineOptions(learning_rate=1e-2)


def uneven(widths):
    """Return a network whose component i has features of the i-th width: a big first bridge, say."""
    components = []
    inputs, target = 12, CLASSES
    for i, width in enumerate(widths):
        torch.manual_seed(i)
        linear = [
            torch.nn.Linear(*shape) for shape in ((inputs, width), (width, width), (target, width), (width, target))
        ]
        f, b, g, h = (torch.nn.Sequential(layer, torch.nn.Sigmoid()) for layer in linear)
        components.append(AssociatedComponent(f=f, b=b, g=g, h=h, generator=torch.Generator().manual_seed(i)))
        inputs = target = width
    return AssociatedNetwork(components, classes=CLASSES)


def measured(net, data, lanes):
    x, y = data[0]
    target = net.first_target(y, dtype=x.dtype, distinct_targets="auto")
    with intra_op_threads(1):
        return measured_blocks(list(net.components), x, target, OPTIONS, minibatch=0, lanes=lanes).blocks


def test_a_big_first_component_gets_a_lane_of_its_own():
    """Half of the components on each lane would leave the second lane idle most of the time."""
    net = uneven([1024, 16, 16, 16, 16, 16])
    assert measured(net, batches(1, batch_size=64), 2) == [range(1), range(1, 6)]


def test_a_big_last_component_gets_a_lane_of_its_own():
    net = uneven([16, 16, 16, 16, 1024])
    assert measured(net, batches(1, batch_size=64), 2) == [range(4), range(4, 5)]


def test_tasks_that_take_longer_measure_longer():
    net = uneven([16, 384, 16])
    x, y = batches(1, batch_size=64)[0]
    with intra_op_threads(1):
        seconds, _ = measure(
            list(net.components),
            x,
            net.first_target(y, dtype=x.dtype, distinct_targets="auto"),
            OPTIONS,
            minibatch=0,
        )
    assert len(seconds) == 3
    assert seconds[1] > seconds[0]


@pytest.mark.parametrize("lanes", [1, 3, 7])
def test_nothing_is_measured_where_there_is_nothing_to_decide(lanes, monkeypatch):
    """One lane, or one for every component."""
    monkeypatch.setattr("albench.engines.balance.measure", lambda *_, **__: pytest.fail("measured"))
    blocks = measured(network(6), batches(1), lanes)
    assert [i for block in blocks for i in block] == [0, 1, 2]
    assert len(blocks) == min(lanes, 3)


def test_measuring_changes_nothing():
    """Weights, generators and torch's own randomness are as they were."""
    net = LocalNetwork(LocallySupervised, dropout=0.3)
    before = copy.deepcopy(net.state_dict())
    generators = [c.generator.get_state() for c in net.components]
    randomness = torch.get_rng_state()
    measured(net, batches(1), 2)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(torch.equal(a, c.generator.get_state()) for a, c in zip(generators, net.components, strict=True))
    assert torch.equal(randomness, torch.get_rng_state())


@pytest.mark.parametrize("widths", [[128, 8, 8, 8], [8, 8, 8, 128]], ids=["big first", "big last"])
def test_an_unevenly_cut_pipeline_is_still_serial_to_the_bit(widths):
    data = batches(12, ragged=3)
    serial, losses = trained("serial", data, net=uneven(widths))
    threads, threads_losses = trained("threads", data, net=uneven(widths), lanes=2)
    assert_bitwise_equal(serial, threads)
    assert losses == threads_losses


def test_blocks_are_decided_once():
    """A run that is resumed by another call of fit keeps its lanes."""
    with make_engine("threads", network(8), lanes=2) as engine:
        assert engine.blocks == []
        engine.fit(batches(2))
        blocks = engine.blocks
        engine.fit(batches(2, batch_size=16))
        assert engine.blocks == blocks


def test_a_component_that_fails_is_named_with_its_mini_batch():
    net = network(8)
    with make_engine("threads", net, lanes=2) as engine:
        engine.fit(batches(3))
    net.components[2].f = torch.nn.Linear(4, 4)
    with make_engine("threads", net, lanes=2) as engine, pytest.raises(ComponentError, match="component 2 .*batch 0"):
        engine.fit(batches(3))


class Remembering(LocallySupervised):
    """Keeps its last loss, with its graph, as an attribute: torch does not copy that."""

    def forward(self, features, target):
        update = super().forward(features, target)
        self.last_loss = update.losses["local"]
        return update


class Locked(LocallySupervised):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.lock = threading.Lock()


def normed(net):
    for component in net.components:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            torch.nn.utils.weight_norm(component.body[0])
    return net


UNCOPIED = {
    "a loss": lambda: LocalNetwork(Remembering),
    "a lock": lambda: LocalNetwork(Locked),
    "weight_norm": lambda: normed(LocalNetwork(LocallySupervised)),
}


@pytest.mark.parametrize("kind", UNCOPIED)
def test_where_a_component_cannot_be_copied_all_count_the_same(kind):
    """Serial trains it, so lanes do, and say what they do without."""
    data = batches(5)
    nets = [UNCOPIED[kind]() for _ in range(2)]
    for net in nets:
        net.components[0](*data[0])  # from here on there is a graph to stumble over
    serial, _ = trained("serial", data, net=nets[0])
    with make_engine("threads", nets[1], learning_rate=1e-2, lanes=2) as engine:
        engine.fit(data)
        assert_bitwise_equal(serial, engine.state_dict())
        assert engine.blocks == [range(2), range(2, 4)]
        assert [n for n in engine.notes if "component 0 cannot be copied to measure it" in n] == engine.notes
        assert "\n" not in engine.notes[0]


class Dropping(LocallySupervised):
    def __init__(self, features, width, seed):
        super().__init__(features, width, seed)
        if seed:
            self.body.append(torch.nn.Dropout(0.3))


def drawing_source(data):
    for batch in data:
        torch.rand(1)
        yield batch


@pytest.mark.parametrize("source", [list, drawing_source])
@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("name", ["threads", "ranks"])
def test_a_component_that_draws_from_the_global_generator_is_named(name, lanes, source):
    """Once; not where one lane draws in the serial order. Threads that could not measure do not blame a source."""
    with make_engine(name, LocalNetwork(Dropping), lanes=lanes) as engine:
        for _ in range(2):
            engine.fit(source(batches(10)))
        notes = [note for note in engine.notes if "global generator" in note]
    if lanes == 1 or (name == "threads" and lanes == 4 and source is drawing_source):
        assert not notes
    else:
        assert len(notes) == 1
        assert "component 1 draws" in notes[0]


@pytest.mark.parametrize("source", [list, drawing_source])
@pytest.mark.parametrize("lanes", [2, 4])
@pytest.mark.parametrize("name", ["threads", "ranks"])
def test_nobody_is_named_where_each_has_a_generator(name, lanes, source):
    with make_engine(name, LocalNetwork(LocallySupervised, dropout=0.3), lanes=lanes) as engine:
        engine.fit(source(batches(10)))
        assert not [note for note in engine.notes if "global generator" in note]
