"""The fused engine: stacked, so equal to the serial one up to rounding, at any depth and through every odd case."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.engines import make_engine
from albench.errors import UsageError
from albench.schedule import pipelined
from tests.engines.made_up import CLASSES, FEATURES, batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("hidden_layers", [2, 4, 8, 32])
def test_equal_to_serial_after_200_mini_batches(hidden_layers, dtype):
    data = batches(200, dtype=dtype)
    serial, losses = trained("serial", data, net=network(hidden_layers, dtype=dtype), learning_rate=1e-3)
    fused, fused_losses = trained("fused", data, net=network(hidden_layers, dtype=dtype), learning_rate=1e-3)
    assert largest_difference(serial, fused) <= TOLERANCE[dtype]
    for one, other in zip(losses, fused_losses, strict=True):
        assert other == pytest.approx(one, rel=1e-3 if dtype is torch.float32 else 1e-9)


@pytest.mark.parametrize(
    "sizes",
    [
        [8] * 10 + [3],
        [8] * 4 + [3] + [8] * 5 + [2, 1],
        [8] * 2,
        [8],
        [],
        [1, 2, 3, 4, 5, 6],
    ],
    ids=["ragged last", "ragged in the middle", "fewer than components", "one", "none", "all different"],
)
def test_odd_inputs(sizes):
    data = [batches(1, batch_size=size, seed=k, dtype=torch.float64)[0] for k, size in enumerate(sizes)]
    serial = trained("serial", data, net=network(12, dtype=torch.float64))[0] if data else None
    with make_engine("fused", network(12, dtype=torch.float64), learning_rate=1e-2, lanes=1) as engine:
        engine.fit(data)
        assert engine.minibatches_seen == len(sizes)
        if serial is not None:
            assert largest_difference(serial, engine.state_dict()) <= 1e-10


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": lambda k: 1e-2 / (1 + k)},
        {"learning_rate": lambda k: 1e-2 if k < 5 else 1e-3},
        {"weight_decay": 1e-2},
        {"distinct_targets": True},
        {"distinct_targets": False},
        {"lanes": 2},
    ],
    ids=["rate by mini-batch", "rate in steps", "weight decay", "distinct", "plain", "two threads"],
)
def test_equal_to_serial_with_every_option(options):
    data = batches(30, ragged=3, dtype=torch.float64)
    serial, _ = trained("serial", data, net=network(8, dtype=torch.float64, bridge_width=20), **options)
    fused, _ = trained("fused", data, net=network(8, dtype=torch.float64, bridge_width=20), **options)
    assert largest_difference(serial, fused) <= 1e-10


def test_the_network_holds_the_trained_weights():
    """What is stacked is put back: prediction, saving and copying see it."""
    net = network(8)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    with make_engine("fused", net, learning_rate=1e-2, lanes=1) as engine:
        engine.fit(batches(5))
    assert all(not torch.equal(before[name], weight) for name, weight in net.state_dict().items())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in net.parameters())


def test_weights_changed_between_fits_are_what_the_next_fit_starts_from():
    net = network(8)
    with make_engine("fused", net, learning_rate=1e-2, lanes=1) as engine:
        engine.fit(batches(3))
        net.load_state_dict(network(8, seed=9).state_dict())
        engine.fit([])
    assert torch.equal(net.components[3].f[0].weight, network(8, seed=9).components[3].f[0].weight)


@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
def test_spans_are_the_schedule(name):
    """Every task once, none before its input or its weights were there."""
    with make_engine(name, network(8), lanes=2, trace=True) as engine:
        engine.fit(batches(6))
        spans = {(span.component, span.minibatch): span for span in engine.spans}
        assert len(spans) == len(engine.spans)
    assert set(spans) == {task for tick in pipelined(4, 6) for task in tick}
    for (component, minibatch), span in spans.items():
        assert span.start_seconds <= span.end_seconds
        for before in [(component - 1, minibatch), (component, minibatch - 1)]:
            if before in spans:
                assert spans[before].end_seconds <= span.start_seconds


def test_networks_that_cannot_be_stacked_say_why():
    net = network(8)
    net.components[2].f.append(torch.nn.Dropout(0.5))
    net.components[3].f.append(torch.nn.Dropout(0.5))
    with pytest.raises(UsageError, match=r"component 2 cannot be stacked: its layer f.2 is Dropout"):
        make_engine("fused", net)
    for i, component in enumerate((net := network(8)).components):
        component.b.append(torch.nn.Linear(9, 9 + i))
    with pytest.raises(UsageError, match="no two neighbouring components"):
        make_engine("fused", net)


def test_without_a_written_reverse_pass_autograd_does_it():
    """GELU's derivative is no function of its output: the stack falls back, and must still be right."""
    data = batches(30, dtype=torch.float64)

    def gelu_network():
        net = network(8, dtype=torch.float64)
        for component in net.components:
            component.f[-1] = torch.nn.GELU()
        return net

    serial, _ = trained("serial", data, net=gelu_network())
    fused, _ = trained("fused", data, net=gelu_network())
    assert largest_difference(serial, fused) <= 1e-10


def test_classes_that_are_absent():
    x, _ = batches(1)[0]
    data = [(x, torch.full((8,), CLASSES - 1))] * 5
    serial, _ = trained("serial", data, distinct_targets=True)
    fused, _ = trained("fused", data, distinct_targets=True)
    assert largest_difference(serial, fused) <= 1e-5


@pytest.mark.parametrize("sizes", [[8] * 6, [8] * 2, [8] * 3 + [5] * 2 + [8]], ids=["steady", "few", "ragged"])
def test_ticks_are_table_1s(sizes):
    """Tick by tick the tasks of `pipelined`, and again for each run of mini-batches of one size."""
    data = [batches(1, batch_size=size, seed=k)[0] for k, size in enumerate(sizes)]
    with make_engine("fused", network(8), trace=True, lanes=1) as engine:
        engine.fit(data)
        spans = sorted(engine.spans, key=lambda span: span.start_seconds)
    expected, first = [], 0
    for _, group in itertools.groupby(sizes):
        count = len(list(group))
        expected += [[(i, k + first) for i, k in tick] for tick in pipelined(4, count)]
        first += count
    assert len(spans) == sum(map(len, expected))
    done = 0
    for tick in expected:
        found = {(span.component, span.minibatch) for span in spans[done : done + len(tick)]}
        assert found == set(tick)
        done += len(tick)


def test_images_are_flattened_in_a_stack_too():
    """A leading dimension more must not be flattened away."""
    data = [(x.reshape(-1, 1, 3, 4), y) for x, y in batches(12, ragged=3, dtype=torch.float64)]
    serial, _ = trained("serial", data, net=network(8, dtype=torch.float64))
    fused, _ = trained("fused", data, net=network(8, dtype=torch.float64))
    assert largest_difference(serial, fused) <= 1e-10


@pytest.mark.parametrize("width", [CLASSES, FEATURES])
def test_widths_that_are_those_of_the_input_or_of_the_labels(width):
    """The first component then looks like the others, but for its Flatten."""
    data = batches(12, dtype=torch.float64)
    serial, _ = trained("serial", data, net=network(8, width=width, dtype=torch.float64))
    fused, _ = trained("fused", data, net=network(8, width=width, dtype=torch.float64))
    assert largest_difference(serial, fused) <= 1e-10


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 4), max_size=12),
    components=st.integers(1, 6),
    cut=st.integers(0, 12),
    distinct=st.sampled_from([True, False, "auto"]),
)
def test_any_run_equals_serials(sizes, components, cut, distinct):
    """Whatever the sizes of the mini-batches, the depth, where fit is called again and which rows are shared."""
    data = [batches(1, batch_size=3 * size, seed=k, dtype=torch.float64)[0] for k, size in enumerate(sizes)]
    states = []
    for name in ("serial", "fused"):
        net = network(2 * components, dtype=torch.float64)
        with make_engine(name, net, learning_rate=1e-2, distinct_targets=distinct, lanes=1) as engine:
            engine.fit(data[:cut])
            engine.fit(data[cut:])
            states.append(engine.state_dict())
    assert largest_difference(*states) <= 1e-10
    assert states[0]["minibatches"] == states[1]["minibatches"] == len(sizes)
