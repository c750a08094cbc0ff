"""The fused engine: stacked, so equal to the serial one up to rounding, at any depth and through every odd case."""

import itertools
import time
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.engines import make_engine
from albench.engines.capture import WARM_UPS, record
from albench.engines.engine import Input
from albench.engines.fused import FusedEngine
from albench.engines.tick import Tick
from albench.errors import UsageError
from albench.schedule import pipelined
from tests.engines.locally_supervised import LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import CLASSES, FEATURES, TOLERANCE, batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.fixture(params=["launch by launch", "prepared"])
def way(request, monkeypatch):
    """Both ways to run a tick; the prepared one as on a GPU, all of it but the recording."""
    if request.param == "prepared":
        request.getfixturevalue("prepared")
    return request.param


@pytest.fixture
def prepared(monkeypatch):
    """Prepare ticks on the CPU, running a body before its first replay as often as the recorder would."""

    def warmed_up(body, *, device, **options):
        if device.type == "cpu":
            for _ in range(WARM_UPS + 1):
                body()
        return record(body, device=device, **options)

    monkeypatch.setattr("albench.engines.tick.record", warmed_up)
    monkeypatch.setattr(FusedEngine, "prepare_uncompiled", True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("hidden_layers", [2, 4, 8, 32])
def test_equal_to_serial_after_200_mini_batches(hidden_layers, dtype, way):
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
def test_odd_inputs(sizes, way):
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
def test_equal_to_serial_with_every_option(options, way):
    data = batches(30, ragged=3, dtype=torch.float64)
    serial, _ = trained("serial", data, net=network(8, dtype=torch.float64, bridge_width=20), **options)
    fused, _ = trained("fused", data, net=network(8, dtype=torch.float64, bridge_width=20), **options)
    assert largest_difference(serial, fused) <= 1e-10


def test_the_network_holds_the_trained_weights(way):
    """What is stacked is put back: prediction, saving and copying see it."""
    net = network(8)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    with make_engine("fused", net, learning_rate=1e-2, lanes=1) as engine:
        engine.fit(batches(5))
    assert all(not torch.equal(before[name], weight) for name, weight in net.state_dict().items())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in net.parameters())


def test_weights_changed_between_fits_are_what_the_next_fit_starts_from(way):
    net = network(8)
    with make_engine("fused", net, learning_rate=1e-2, lanes=1) as engine:
        engine.fit(batches(3))
        net.load_state_dict(network(8, seed=9).state_dict())
        engine.fit([])
    assert torch.equal(net.components[3].f[0].weight, network(8, seed=9).components[3].f[0].weight)


@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
def test_spans_are_the_schedule(name, way):
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


def test_without_a_written_reverse_pass_autograd_does_it(way):
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


def test_components_that_are_not_associated_learning(way):
    """Autograd finds their gradients in a prepared tick too, and what they hand on as target are labels."""
    data = batches(30, ragged=3, dtype=torch.float64)
    nets = [LocalNetwork(StackableLocallySupervised, count=5).double() for _ in range(2)]
    serial, losses = trained("serial", data, net=nets[0])
    fused, fused_losses = trained("fused", data, net=nets[1])
    assert largest_difference(serial, fused) <= 1e-10
    for one, other in zip(losses, fused_losses, strict=True):
        assert other == pytest.approx(one, rel=1e-9)


def test_classes_that_are_absent(way):
    x, _ = batches(1)[0]
    data = [(x, torch.full((8,), CLASSES - 1))] * 5
    serial, _ = trained("serial", data, distinct_targets=True)
    fused, _ = trained("fused", data, distinct_targets=True)
    assert largest_difference(serial, fused) <= 1e-5


@pytest.mark.parametrize(
    "sizes",
    [[8] * 9, [8] * 2, [8] * 6 + [5], [8] * 4 + [5] + [8] * 4, [8] * 3 + [5] * 7 + [8]],
    ids=["steady", "few", "ragged last", "ragged in the middle", "sizes change"],
)
def test_ticks_are_table_1s(sizes, way):
    """N mini-batches take N + K - 1 ticks, and no shape among them makes the pipeline drain."""
    data = [batches(1, batch_size=size, seed=k)[0] for k, size in enumerate(sizes)]
    with make_engine("fused", network(8), trace=True, lanes=1) as engine:
        engine.fit(data)
        spans = sorted(engine.spans, key=lambda span: span.start_seconds)
    expected = pipelined(4, len(sizes))
    assert len(expected) == len(sizes) + 4 - 1
    assert len(spans) == sum(map(len, expected))
    done = 0
    for tick in expected:
        found = {(span.component, span.minibatch) for span in spans[done : done + len(tick)]}
        assert found == set(tick)
        done += len(tick)


def test_images_are_flattened_in_a_stack_too(way):
    """A leading dimension more must not be flattened away."""
    data = [(x.reshape(-1, 1, 3, 4), y) for x, y in batches(12, ragged=3, dtype=torch.float64)]
    serial, _ = trained("serial", data, net=network(8, dtype=torch.float64))
    fused, _ = trained("fused", data, net=network(8, dtype=torch.float64))
    assert largest_difference(serial, fused) <= 1e-10


@pytest.mark.parametrize("width", [CLASSES, FEATURES])
def test_widths_that_are_those_of_the_input_or_of_the_labels(width, way):
    """The first component then looks like the others, but for its Flatten."""
    data = batches(12, dtype=torch.float64)
    serial, _ = trained("serial", data, net=network(8, width=width, dtype=torch.float64))
    fused, _ = trained("fused", data, net=network(8, width=width, dtype=torch.float64))
    assert largest_difference(serial, fused) <= 1e-10


@pytest.mark.parametrize("prepared", [False, True], ids=["launch by launch", "prepared"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 2), max_size=16),
    components=st.integers(1, 6),
    cut=st.integers(0, 16),
    distinct=st.sampled_from([True, False, "auto"]),
)
def test_any_run_equals_serials(prepared, sizes, components, cut, distinct):
    """Whatever the sizes of the mini-batches, the depth, where fit is called again and which rows are shared."""
    data = [batches(1, batch_size=3 * size, seed=k, dtype=torch.float64)[0] for k, size in enumerate(sizes)]
    states = []
    for name in ("serial", "fused"):
        net = network(2 * components, dtype=torch.float64)
        with make_engine(name, net, learning_rate=1e-2, distinct_targets=distinct, lanes=1, compile=False) as engine:
            if prepared and name == "fused":
                engine._prepare_after = 2  # uncompiled, as the option says
            engine.fit(data[:cut])
            engine.fit(data[cut:])
            states.append(engine.state_dict())
    assert largest_difference(*states) <= 1e-10
    assert states[0]["minibatches"] == states[1]["minibatches"] == len(sizes)


def test_a_ragged_mini_batch_travels_beside_the_prepared_tick(prepared, monkeypatch):
    """Only it and the mini-batches before the tick was prepared are run launch by launch."""
    alone, ticks = [], []
    run_piece, run = FusedEngine._run_piece, Tick.run

    def noted_piece(self, piece):
        alone.append((piece.minibatch, len(piece.features)))
        return run_piece(self, piece)

    def noted_run(self):
        ticks.append(self.active_slots)
        run(self)

    monkeypatch.setattr(FusedEngine, "_run_piece", noted_piece)
    monkeypatch.setattr(Tick, "run", noted_run)
    data = batches(10, ragged=3)
    with make_engine("fused", network(8), lanes=1) as engine:
        engine.fit(data)
        assert alone == [(0, 1)] * 4 + [(10, 1)] * 4
        # Mini-batches 1 to 9 fill the tick, which is full while 4 of them are under way, and drains behind the last.
        assert ticks == [1, 3, 7, 15, 15, 15, 15, 15, 15, 14, 12, 8]
        alone.clear()
        engine.fit(data)
        assert alone == [(21, 1)] * 4, "what was prepared serves the next fit"


def test_a_shape_that_stays_is_prepared_in_its_turn(prepared):
    data = [batches(1, batch_size=size, seed=size)[0] for size in [8] * 5 + [3] * 2]
    states = []
    for name in ("serial", "fused"):
        with make_engine(name, network(8), learning_rate=1e-2, lanes=1) as engine:
            for _ in range(3):
                engine.fit(data[:5])
                engine.fit(data[5:])
            states.append(engine.state_dict())
            if name == "fused":
                assert engine.recordings == 4, "a masked and a steady body for each of two shapes, once"
    assert largest_difference(*states) <= 1e-5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_prepared_is_equal_to_serial_where_it_runs(device, dtype, prepared):
    """With all that a recording must not freeze: rates, ragged mini-batches, fits of any length, a loaded state."""
    data = [(x.to(device), y.to(device)) for x, y in batches(200, ragged=3, dtype=dtype)]
    states = []
    for name in ("serial", "fused"):
        options = {"learning_rate": lambda k: 1e-3 / (1 + k / 50), "weight_decay": 1e-3, "lanes": 1}
        with make_engine(name, network(16, dtype=dtype).to(device), **options) as engine:
            engine.fit(data[:60])
            engine.fit(data[60:62])
            state = engine.state_dict()
            engine.fit(data[:30])
            engine.load_state_dict(state)
            engine.fit(data[62:])
            states.append(engine.state_dict())
    assert engine.recordings == 2
    assert largest_difference(*states) <= TOLERANCE[dtype]


@pytest.mark.cuda
def test_the_host_never_waits_for_the_device():
    """Not for a new rate, not for a ragged mini-batch, not to drain."""
    data = [(x.cuda(), y.cuda()) for x, y in batches(30, ragged=3)]
    with make_engine("fused", network(16).cuda(), learning_rate=lambda k: 1e-2 / (1 + k)) as engine:
        engine.fit(data)
        torch.cuda.synchronize()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that this mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            engine.fit(data)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert engine.recordings == 2


@pytest.mark.cuda
def test_memory_stays_flat():
    data = [(x.cuda(), y.cuda()) for x, y in batches(9, batch_size=64, ragged=30)]
    with make_engine("fused", network(32, width=64).cuda()) as engine:
        peaks = []
        for mini_batches in (200, 2000):
            engine.fit(itertools.islice(itertools.cycle(data), 200))  # everything that is made once is there
            torch.cuda.reset_peak_memory_stats()
            engine.fit(itertools.islice(itertools.cycle(data), mini_batches))
            torch.cuda.synchronize()
            peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= peaks[0]


@pytest.mark.cuda
@pytest.mark.parametrize("hidden_layers", [4, 64])
def test_host_work_does_not_grow_with_depth(hidden_layers, record_property):
    """Counted, not timed: launches of the host in a steady tick. The time goes into the report of the tests."""
    batch = [t.cuda() for t in batches(1, batch_size=64)[0]]
    with make_engine("fused", network(hidden_layers, width=64).cuda()) as engine:
        engine.fit([batch] * 100)
        torch.cuda.synchronize()
        tick, item = (
            engine._tick,
            Input(0, batch[0], engine.network.first_target(batch[1], dtype=batch[0].dtype, distinct_targets="auto")),
        )
        for _ in range(tick.count):
            tick.enter(item, 1e-4)
            tick.run()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
            tick.enter(item, 1e-4)
            tick.run()
        start = time.perf_counter()
        for _ in range(100):
            tick.enter(item, 1e-4)
            tick.run()
        record_property("host_seconds_per_tick", (time.perf_counter() - start) / 100)
        operators = sum(event.count for event in profile.key_averages() if event.key.startswith("aten::"))
        assert operators <= 8, "the copies of one mini-batch"
