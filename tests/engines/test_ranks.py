"""The ranks engine: real processes must end where the serial order ends, to the last bit."""

import itertools

import pytest
import torch
from torch import nn

from albench.engines import ComponentError, make_engine
from albench.errors import UsageError
from tests.engines.left_behind import assert_nothing_left
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("link", ["ring", "gloo"])
@pytest.mark.parametrize(("hidden_layers", "lanes"), [(2, 1), (4, 2), (8, 2), (8, 3), (14, 4)])
def test_bitwise_equal_to_serial(hidden_layers, lanes, link):
    """Weights, optimizer state and losses, with a ragged last mini-batch, over shared memory and over the network."""
    data = batches(20, ragged=3)
    serial, losses = trained("serial", data, hidden_layers=hidden_layers)
    ranks, ranks_losses = trained("ranks", data, hidden_layers=hidden_layers, lanes=lanes, link=link)
    assert_bitwise_equal(serial, ranks)
    assert losses == ranks_losses
    assert_nothing_left()


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": lambda k: 1e-2 / (1 + k)},
        {"weight_decay": 1e-2},
        {"distinct_targets": True},
        {"distinct_targets": False},
        {"net_bridge_width": 45},
    ],
    ids=["rate by mini-batch", "weight decay", "distinct", "plain", "two-layer bridges"],
)
def test_bitwise_equal_with_every_option(options):
    """A rate that is a lambda cannot be sent to another process: each mini-batch brings its rate along."""
    data = batches(12, ragged=2)
    bridge_width = options.pop("net_bridge_width", None)
    serial, _ = trained("serial", data, net=network(6, bridge_width=bridge_width), **options)
    ranks, _ = trained("ranks", data, net=network(6, bridge_width=bridge_width), lanes=3, **options)
    assert_bitwise_equal(serial, ranks)


@pytest.mark.parametrize("link", ["ring", "gloo"])
def test_repeated_fit_is_one_fit_and_empty_ones_are_nothing(link):
    data = batches(20, ragged=3)
    whole, whole_losses = trained("serial", data)
    with make_engine("ranks", network(8), learning_rate=1e-2, lanes=2, link=link) as engine:
        for part in ([], data[:1], data[1:9], [], data[9:]):
            engine.fit(part)
        assert_bitwise_equal(whole, engine.state_dict())
        assert engine.losses == whole_losses
        assert engine.minibatches_seen == 21


def test_the_network_can_be_used_and_changed_between_runs():
    """After a run the caller's network has all weights; what the caller writes into it is trained on."""
    data = batches(20)
    nets = [network(8), network(8)]
    with (
        make_engine("serial", nets[0], learning_rate=1e-2) as serial,
        make_engine("ranks", nets[1], learning_rate=1e-2, lanes=2) as ranks,
    ):
        for net, engine in ((nets[0], serial), (nets[1], ranks)):
            for parameter in net.parameters():
                parameter.data.mul_(1.5)  # past autograd's version counter
            engine.fit(data[:5])
            net.components[3].f[0].weight.data[0, 0] = 0.25
            engine.fit(data[5:10])
            with torch.no_grad():
                net.components[2].f[0].bias.add_(0.5)
            engine.fit(data[10:])
        assert torch.equal(nets[0](data[0][0]), nets[1](data[0][0]))
        assert_bitwise_equal(serial.state_dict(), ranks.state_dict())


@pytest.mark.parametrize("other", ["serial", "threads"])
def test_a_run_resumes_on_another_engine_and_comes_back(other, tmp_path):
    data = batches(20, ragged=3)
    whole, _ = trained("serial", data)
    state = None
    for name, part in (("ranks", data[:7]), (other, data[7:11]), ("ranks", data[11:])):
        with make_engine(name, network(8, seed=9 if state else 0), learning_rate=1e-2, lanes=2) as engine:
            if state is not None:
                engine.load_state_dict(state)
            engine.fit(part)
            torch.save(engine.state_dict(), tmp_path / "state.pt")
        state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert_bitwise_equal(whole, state)


class Normalised(LocallySupervised):
    """With BatchNorm: a buffer that each task moves; with dropout: a generator of its own."""

    def __init__(self, features, width, seed):
        super().__init__(features, width, seed, dropout=0.3)
        self.body.insert(1, nn.BatchNorm1d(width))


@pytest.mark.parametrize("link", ["ring", "gloo"])
def test_a_component_with_buffers_and_a_generator_that_is_not_al(link):
    data = batches(12, ragged=3)
    serial, losses = trained("serial", data, net=LocalNetwork(Normalised), fits=2)
    ranks, ranks_losses = trained("ranks", data, net=LocalNetwork(Normalised), lanes=3, fits=2, link=link)
    assert_bitwise_equal(serial, ranks)
    assert losses == ranks_losses
    for one, other in zip(serial["components"], ranks["components"], strict=True):
        assert torch.equal(one["generator"], other["generator"])


def test_spans_tell_which_process_ran_what():
    with make_engine("ranks", network(10), lanes=3, trace=True) as engine:
        engine.fit(batches(8))
        assert [i for block in engine.blocks for i in block] == list(range(5))
        for lane, block in enumerate(engine.blocks):
            spans = [span for span in engine.spans if span.lane == lane]
            assert {span.component for span in spans} == set(block)
            assert len(spans) == 8 * len(block)
            for one, other in itertools.pairwise(spans):
                assert one.end_seconds <= other.start_seconds


def test_notes_say_how_ranks_are_linked_and_which_lanes_were_capped():
    with make_engine("ranks", network(4), lanes=7) as engine:
        assert engine.lanes == 2
        assert "7 lanes asked for, 2 used" in engine.notes[0]
        assert "ring" in engine.notes[1]


@pytest.mark.parametrize("component", [0, 1, 3])
def test_whichever_component_fails_the_caller_learns_it_and_nothing_stays(component):
    """The reader may never end. A state of before goes on, in new processes."""
    net = network(8)
    with make_engine("ranks", net, lanes=3) as engine:
        engine.fit(batches(3))
        state = engine.state_dict()
    net.components[component].f.register_forward_pre_hook(FailsOn(30))
    with make_engine("ranks", net, lanes=3) as engine:
        with pytest.raises(ComponentError, match=f"component {component} failed on mini-batch 30: .*made up"):
            engine.fit(itertools.repeat(batches(1)[0]))
        assert_nothing_left()
        with pytest.raises(UsageError, match="load_state_dict"):
            engine.fit(batches(1))
        with pytest.raises(UsageError, match="broke off"):
            engine.state_dict()
        engine.load_state_dict(state)
        engine.fit(batches(3))
        assert engine.minibatches_seen == 6


class FailsOn:
    """A hook that fails in its call number so and so."""

    def __init__(self, number):
        self.number = number
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        if self.calls == self.number + 1:
            raise ArithmeticError("made up")


def test_an_error_while_reading_drains_and_the_run_goes_on():
    data = batches(20)

    def broken():
        yield from data[:7]
        raise OSError("disk gone")

    whole, _ = trained("serial", data)
    with make_engine("ranks", network(8), learning_rate=1e-2, lanes=3) as engine:
        with pytest.raises(OSError, match="disk gone"):
            engine.fit(broken())
        engine.fit(data[7:])
        assert_bitwise_equal(whole, engine.state_dict())


def test_a_closed_engine_says_so_and_its_losses_stay():
    engine = make_engine("ranks", network(8), lanes=2)
    engine.fit(batches(2))
    engine.close()
    engine.close()
    assert len(engine.losses[3]) == 2
    with pytest.raises(UsageError, match="processes have ended"):
        engine.state_dict()


def test_a_network_that_cannot_be_sent_is_refused():
    net = network(4)
    net.components[0].register_forward_hook(lambda *_: None)
    with pytest.raises(UsageError, match="cannot be sent to another process"):
        make_engine("ranks", net, lanes=2)
    assert_nothing_left()


def test_a_state_is_not_loaded_in_the_middle_of_a_run():
    """The reader's is the one code of the caller that runs meanwhile; the other ranks wait for mini-batches."""
    with make_engine("ranks", network(4), lanes=2) as engine:
        engine.fit(batches(2))
        state = engine.state_dict()

        def loading():
            yield batches(1)[0]
            engine.load_state_dict(state)

        with pytest.raises(UsageError, match=r"load_state_dict\(\) while fit\(\) is running"):
            engine.fit(loading())
        assert engine.minibatches_seen == 3
        engine.load_state_dict(state)
        assert engine.minibatches_seen == 2


class OfDefaultType(LocallySupervised):
    """Its arithmetic depends on a setting of the whole process."""

    def forward(self, features, target):
        return super().forward(features + torch.full((1,), 0.1), target)


def test_the_default_type_reaches_every_process():
    """A tenth in float32 is another one than in float64, and nothing would say so."""
    data = batches(6, dtype=torch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        serial, _ = trained("serial", data, net=LocalNetwork(OfDefaultType))
        ranks, _ = trained("ranks", data, net=LocalNetwork(OfDefaultType), lanes=3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_bitwise_equal(serial, ranks)
