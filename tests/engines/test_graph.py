"""The graph engine: the serial bits from a tick that is recorded once, whatever shapes, rates and states come along.

On the CPU nothing is recorded, and the recorder's warm-ups are run all the same: they must not change anything.
"""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.component import ParameterGroup, Update
from albench.engines import ComponentError, make_engine
from albench.engines.graph import PATIENCE
from albench.errors import UsageError
from albench.schedule import pipelined
from tests.engines.device_runs import ClockedLanes, Normalised, moved, trained_on
from tests.engines.graph_runs import assert_serials, of_sizes, replays
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import assert_bitwise_equal, batches, network

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_warm_ups", "_cpu_twins")]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("lanes", [1, 2, 3, None])
@pytest.mark.parametrize("hidden_layers", [2, 4, 8, 16])
def test_bitwise_equal_to_serial(hidden_layers, lanes, device):
    """Weights, optimizer state and losses, from one recording, with a ragged last mini-batch."""
    lanes = lanes or hidden_layers // 2
    assert assert_serials(batches(20, ragged=3), device=device, hidden_layers=hidden_layers, lanes=lanes) == 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": lambda k: 1e-2 / (1 + k)},
        {"learning_rate": lambda k: 1e-2 if k < 9 else 3e-3},
        {"weight_decay": 1e-2},
        {"distinct_targets": True},
        {"distinct_targets": False},
        {"fits": 4},
        {"fits": 13},
    ],
    ids=["rate by mini-batch", "rate in steps", "weight decay", "distinct", "plain", "several fits", "fits of one"],
)
def test_bitwise_equal_with_every_option(options, device):
    assert assert_serials(batches(12, ragged=2), device=device, **options) == 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [LocallySupervised, Normalised])
def test_any_component_will_do(kind, device):
    """Labels that are handed on as they came, and running statistics that an idle slot must leave alone."""
    assert_serials(batches(15, ragged=4), device=device, make=lambda: LocalNetwork(kind))


@pytest.mark.parametrize("learning_rate", [1e-2, lambda k: 1e-2 / (1 + k)], ids=["constant", "by mini-batch"])
def test_groups_of_any_rate(learning_rate):
    """3.3 is no power of two: multiplied in another precision it would round to other bits."""

    class TwoRates(LocallySupervised):
        def parameter_groups(self):
            first, *others = self.parameters()
            return [ParameterGroup(parameters=[first], rate=3.3), ParameterGroup(parameters=others, rate=0.7)]

    assert_serials(batches(12), make=lambda: LocalNetwork(TwoRates), learning_rate=learning_rate)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("sizes", "recordings"),
    [
        ([8], 0),
        ([8] * 2, 1),
        ([8] * 3, 1),
        ([8] * 9 + [3], 1),
        ([8] * 6 + [5] + [8] * 6, 1),
        ([8] * 6 + [5, 4, 8, 5, 8, 8, 3, 3] + [8] * 6, 1),
        ([5] + [8] * 6, 1),
        ([5, 8, 5, 8, 5], 0),
        ([8] * 6 + [5] * PATIENCE + [8] * 6, 1),
        ([8] * 6 + [5] * (PATIENCE + 3) + [8] * 2, 2),
        ([8] * 3 + [5] * (PATIENCE + 1) + [8] * (PATIENCE + 1) + [5], 3),
        ([5, 5, 8, 8] * 6, 1),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else str(value),
)
def test_mini_batches_of_another_shape_ride_and_lasting_ones_are_recorded(sizes, recordings, device):
    assert assert_serials(of_sizes(*sizes), device=device) == recordings


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_fewer_mini_batches_than_components(count):
    assert_serials(batches(count), hidden_layers=16)
    assert_serials(batches(count, ragged=1), hidden_layers=16)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.sampled_from([8, 8, 8, 3]), max_size=30),
    components=st.integers(1, 6),
    lanes=st.integers(1, 6),
    cut=st.integers(0, 30),
)
def test_any_run_is_serials_to_the_last_bit(sizes, components, lanes, cut):
    """Whatever the sizes of the mini-batches, the depth, the lanes and where fit is called again."""
    data = of_sizes(*sizes)
    states, losses = [], []
    for name in ("serial", "graph"):
        with make_engine(name, network(2 * components), learning_rate=1e-2, lanes=lanes) as engine:
            engine.fit(data[:cut])
            engine.fit(data[cut:])
            states.append(engine.state_dict())
            losses.append(engine.losses)
    assert_bitwise_equal(*states)
    assert losses[0] == losses[1]


def test_ticks_are_table_1s():
    """But for the first mini-batch, which rides alone; and each tick is one replay, however deep the network."""
    with make_engine("graph", network(8), trace=True, lanes=2) as engine:
        engine.fit(batches(10))
        spans = sorted(engine.spans, key=lambda span: (span.start_seconds, span.component))
        lanes = [next(lane for lane, block in enumerate(engine.blocks) if i in block) for i in range(4)]
    assert [(span.component, span.minibatch) for span in spans[:4]] == [(i, 0) for i in range(4)]
    ticks = [
        [(span.component, span.minibatch - 1) for span in group]
        for _, group in itertools.groupby(spans[4:], key=lambda span: span.start_seconds)
    ]
    assert ticks == [sorted(tick) for tick in pipelined(4, 9)]
    assert len(replays) == len(ticks)
    assert all(span.lane == lanes[span.component] for span in spans)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_branches_fork_from_the_first_lane_and_join_it_again(count):
    """A branch that does not wait reads slots too early; one that is not joined spoils the recording."""
    net, lanes, found = network(8), ClockedLanes(count), []
    main = lanes.streams[0]

    def ready(*_):
        return all(lanes.current.seen[n] >= time for n, time in entered)

    with make_engine("graph", net, lanes=count) as engine:
        engine.fit(batches(2))
        slots = engine._slots
        for component in net.components:
            component.register_forward_pre_hook(lambda *_: found.append((ready(), lanes.current.work())) and None)
        with torch.enable_grad():
            for _ in range(3):
                entered = [main.work()]
                slots.tick(lanes, engine.blocks, lambda i: 0)
                assert all(main.seen[n] >= time for _, (n, time) in found), "a branch is not joined"
    assert len(found) == 12
    assert all(was_ready for was_ready, _ in found)
    assert {n for _, (n, _) in found} == {stream.number for stream in lanes.streams}


class Dropping(LocallySupervised):
    """Draws on the device that it is on."""

    def __init__(self, features, width, seed, device="cpu"):
        super().__init__(features, width, seed)
        self.generator = torch.Generator(device).manual_seed(seed)

    def forward(self, features, target):
        out, _, losses = super().forward(features, target)
        keep = torch.rand(out.shape, generator=self.generator, device=self.generator.device).to(out.device) > 0.3
        return Update(out * keep, target, losses)


@pytest.mark.parametrize("device", DEVICES)
def test_random_numbers_are_those_of_the_mini_batch(device):
    """Idle slots draw as well, and warm-ups do; neither may move the generator."""
    data = batches(9) + batches(1, batch_size=5) + batches(4)
    assert assert_serials(data, device=device, make=lambda: LocalNetwork(Dropping, device=device), fits=2) == 1


def test_random_numbers_of_the_host_are_refused():
    """A recording would repeat what was drawn once. On the CPU the generators have to be called foreign to see it."""
    with make_engine("graph", LocalNetwork(Dropping)) as engine:
        engine._generators, engine._host_generators = {}, engine._generators
        engine.fit(batches(1))
        before = [component.generator.get_state() for component in engine.components]
        with pytest.raises(UsageError, match="component 0 draws from a generator on the CPU.*use engine 'streams'"):
            engine.fit(batches(1))
        after = [component.generator.get_state() for component in engine.components]
    assert all(map(torch.equal, before, after))


@pytest.mark.cuda
def test_random_numbers_of_the_host_are_refused_on_a_device():
    net = LocalNetwork(Dropping).cuda()
    with make_engine("graph", net) as engine, pytest.raises(UsageError, match="draws from a generator on the CPU"):
        engine.fit(moved(batches(4), "cuda"))


@pytest.mark.parametrize("device", DEVICES)
def test_a_state_of_another_engine_is_taken_up_without_a_new_recording(device):
    """The recording reads weights and moments where they are, so loading must fill them in place."""
    data = moved(batches(20, ragged=3), device)
    with make_engine("serial", network(8).to(device), learning_rate=1e-2) as other:
        fresh = other.state_dict()
        other.fit(data[:7])
        state = other.state_dict()
        other.fit(data[7:])
        end = other.state_dict()
    with make_engine("graph", network(8, seed=5).to(device), learning_rate=1e-2) as engine:
        engine.fit(data[:4])
        engine.load_state_dict(state)
        engine.fit(data[7:])
        assert_bitwise_equal(end, engine.state_dict())
        engine.load_state_dict(fresh)
        assert_bitwise_equal(fresh, engine.state_dict())
        engine.fit(data)
        assert_bitwise_equal(end, engine.state_dict())
        assert engine.recordings == 1


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (network, lambda net: net.components[1].f.requires_grad_(False)),
        (network, lambda net: net.double()),
        (lambda _: LocalNetwork(Normalised), lambda net: net.eval()),
        (network, lambda net: net.components[1].f.register_forward_hook(lambda module, given, out: out / 2)),
        (network, lambda net: net.components[1].f[0].weight.register_hook(lambda gradient: gradient / 2)),
        (network, lambda net: setattr(net.components[1].f[1], "alpha", 0.5)),
        (network, lambda net: net.components[1].f.__setitem__(1, torch.nn.Tanh())),
    ],
    ids=["frozen", "another type", "evaluating", "a hook", "a hook of a weight", "a number", "a layer"],
)
def test_a_network_that_changed_between_fits_is_recorded_anew(make, change):
    """A recording knows addresses and what was trained; it would go on as if nothing had happened."""
    states = []
    for name in ("serial", "graph"):
        net = make(8)
        with make_engine(name, net, learning_rate=1e-2) as engine:
            engine.fit(batches(6))
            change(net)
            engine.load_state_dict(engine.state_dict())
            engine.fit(batches(6, dtype=next(net.parameters()).dtype))
            states.append(engine.state_dict())
    assert_bitwise_equal(*states)
    assert engine.recordings == 2


def test_an_input_that_fails_drains_and_goes_on():
    data = batches(20)

    def failing():
        yield from data[:9]
        raise OSError("disk gone")

    with make_engine("graph", network(8), learning_rate=1e-2) as engine:
        with pytest.raises(OSError, match="disk gone"):
            engine.fit(failing())
        assert engine.minibatches_seen == 9
        engine.fit(data[9:])
        assert_bitwise_equal(trained_on("cpu", "serial", data)[0], engine.state_dict())
        assert engine.recordings == 1


@pytest.mark.parametrize("at", [0, 2, 5, 11])
@pytest.mark.parametrize("component", [0, 1, 3])
def test_a_component_that_fails_is_named_and_a_loaded_state_goes_on(component, at):
    """While it rides, while it is recorded, while others are in the pipeline."""
    net = network(8)
    calls, made_up = itertools.count(), ArithmeticError("made up")

    def fail(*_):
        if next(calls) == at:
            raise made_up

    hook = net.components[component].f.register_forward_pre_hook(fail)
    with make_engine("graph", net, lanes=4, learning_rate=1e-2) as engine:
        good = engine.state_dict()
        with pytest.raises(ComponentError, match=f"component {component} failed .*: made up") as caught:
            engine.fit(batches(20))
        assert caught.value.__cause__ is made_up
        hook.remove()
        engine.load_state_dict(good)
        engine.fit(batches(20))
        assert_bitwise_equal(trained_on("cpu", "serial", batches(20))[0], engine.state_dict())


class Unsteady(LocallySupervised):
    """Behaves until it is recorded."""

    trick = staticmethod(lambda component, update: update)

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def forward(self, features, target):
        update = super().forward(features, target)
        self.calls += 1
        return type(self).trick(self, update) if self.calls > 1 else update


def replace_buffer(component, update):
    component.seen = component.seen + 1
    return update


@pytest.mark.parametrize(
    ("trick", "words"),
    [
        (replace_buffer, "update buffers in place"),
        (lambda _, update: update._replace(features=update.features[:4]), "other shapes"),
        (lambda _, update: update._replace(losses={"another": update.losses["local"]}), "other losses"),
    ],
    ids=["buffer", "shapes", "losses"],
)
def test_what_a_recording_cannot_repeat_is_refused(trick, words):
    kind = type("Tricky", (Unsteady,), {"trick": staticmethod(trick)})
    with make_engine("graph", LocalNetwork(kind)) as engine, pytest.raises(ComponentError, match=words):
        engine.fit(batches(3))


@pytest.mark.parametrize("device", DEVICES)
def test_what_a_recording_holds_is_given_back(device):
    """Closed, the engine keeps the losses and the network, and neither slots nor graph."""
    engine = make_engine("graph", network(8).to(device))
    engine.fit(moved(batches(4), device))
    losses = engine.losses
    assert engine._slots is not None
    engine.close()
    assert engine._slots is engine._replay is None
    assert engine.losses == losses != [{}] * 4


@pytest.mark.parametrize("lanes", [1, 2])
def test_components_that_share_a_parameter_are_refused_on_one_lane_too(lanes):
    """A recorded tick is one: each component in it would read what its neighbour has not written yet."""
    net = network(8)
    net.components[2].h = net.components[1].h
    with pytest.raises(UsageError, match="components 1 and 2 share a parameter.*serial"):
        make_engine("graph", net, lanes=lanes)
