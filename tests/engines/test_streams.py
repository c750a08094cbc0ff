"""The streams engine: the serial bits on any number of lanes, and no memory freed while a lane still reads it."""

import itertools
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.engines import ComponentError, make_engine
from albench.engines.capture import no_wait_for_the_device
from albench.engines.engine import Input
from albench.engines.streams import _HandOver
from tests.engines.device_runs import ClockedLanes, Normalised, allowed_on_the_cpu, moved, trained_on
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import assert_bitwise_equal, batches, network

pytestmark = pytest.mark.timeout(120)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("lanes", [1, 2, 3, None])
@pytest.mark.parametrize("hidden_layers", [2, 4, 8, 16])
def test_bitwise_equal_to_serial(hidden_layers, lanes, device):
    """Weights, optimizer state and losses, with a ragged last mini-batch; None: a lane for every component."""
    data = batches(20, ragged=3)
    serial, serial_losses = trained_on(device, "serial", data, hidden_layers=hidden_layers)
    lanes = lanes or hidden_layers // 2
    streams, losses = trained_on(device, "streams", data, hidden_layers=hidden_layers, lanes=lanes)
    assert_bitwise_equal(serial, streams)
    assert serial_losses == losses


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": lambda k: 1e-2 / (1 + k)},
        {"weight_decay": 1e-2},
        {"distinct_targets": True},
        {"distinct_targets": False},
        {"fits": 4},
    ],
    ids=["rate by mini-batch", "weight decay", "distinct", "plain", "several fits"],
)
def test_bitwise_equal_with_every_option(options, device):
    data = batches(12, ragged=2)
    serial, _ = trained_on(device, "serial", data, **{**options, "fits": 1})
    streams, _ = trained_on(device, "streams", data, lanes=3, **options)
    assert_bitwise_equal(serial, streams)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [LocallySupervised, Normalised])
def test_any_component_will_do(kind, device):
    """Its labels pass through all lanes unchanged; running statistics are those of the serial order."""
    data = batches(12)
    serial, _ = trained_on(device, "serial", data, net=LocalNetwork(kind))
    streams, _ = trained_on(device, "streams", data, net=LocalNetwork(kind), lanes=4)
    assert_bitwise_equal(serial, streams)


@pytest.mark.cuda
@pytest.mark.parametrize("lanes", [2, 8])
def test_bitwise_equal_where_lanes_really_overlap(lanes):
    """Tasks that last long enough to overlap, and memory enough in flight to be reused while they do."""
    data = batches(60, batch_size=256, features=12)
    serial, losses = trained_on("cuda", "serial", data, net=network(16, width=1024), learning_rate=1e-3)
    for _ in range(3):
        streams, found = trained_on(
            "cuda", "streams", data, net=network(16, width=1024), lanes=lanes, learning_rate=1e-3
        )
        assert_bitwise_equal(serial, streams)
        assert losses == found


@pytest.mark.cuda
def test_the_host_never_waits_for_the_device_inside_fit():
    data = moved(batches(40, ragged=3), "cuda")
    with make_engine("streams", network(16).cuda(), learning_rate=lambda k: 1e-2 / (1 + k), lanes=4) as engine:
        engine.fit(data[:2])  # the first mini-batch balances the lanes, by looking at the clock
        with no_wait_for_the_device():
            engine.fit(data[2:])


@pytest.mark.cuda
def test_memory_stays_flat():
    data = moved(batches(10, batch_size=64), "cuda")
    with make_engine("streams", network(16, width=64).cuda(), lanes=4) as engine:
        engine.fit(itertools.islice(itertools.cycle(data), 200))
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        engine.fit(itertools.islice(itertools.cycle(data), 2000))
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() <= before[0]
        assert torch.cuda.memory_reserved() <= before[1]


@pytest.mark.parametrize("component", [0, 1, 3])
def test_a_component_that_fails_is_named_and_a_loaded_state_goes_on(component):
    net = network(8)
    calls = itertools.count()

    def fail(*_):
        if next(calls) == 7:
            raise ArithmeticError("made up")

    hook = net.components[component].f.register_forward_pre_hook(fail)
    with allowed_on_the_cpu(), make_engine("streams", net, lanes=4, learning_rate=1e-2) as engine:
        good = engine.state_dict()
        with pytest.raises(ComponentError, match=f"component {component} failed on mini-batch 7: ArithmeticError"):
            engine.fit(batches(20))
        hook.remove()
        engine.load_state_dict(good)
        engine.fit(batches(20))
        assert_bitwise_equal(trained_on("cpu", "serial", batches(20))[0], engine.state_dict())


def test_each_lane_runs_its_own_block():
    with allowed_on_the_cpu(), make_engine("streams", network(10), lanes=3, trace=True) as engine:
        engine.fit(batches(8))
        assert [i for block in engine.blocks for i in block] == list(range(5))
        for lane, block in enumerate(engine.blocks):
            assert {span.component for span in engine.spans if span.lane == lane} == set(block)


def misuses(lanes, minibatches, *, passes=True):
    """Return the hand-overs that were freed, or read, before their time in a run, and how many are left at its end.

    Freed memory goes back to the stream that it was allocated for, so that stream must come after all who read it.
    What is left is freed when the caller's stream has waited for all lanes.
    """
    clocked = [lanes.the_caller, *lanes.streams]
    hand_over = _HandOver(lanes, lanes.the_caller)
    found, freed, reads = [], [], {}

    def made(stream):
        tensor = torch.zeros(1)
        key = (clocked[stream].work(), len(reads))
        reads[key] = []

        def check(key=key, stream=stream):
            freed.append(key)
            found.extend(f"{key} freed early" for n, time in reads[key] if clocked[stream].seen[n] < time)

        weakref.finalize(tensor, check).atexit = False
        return tensor, key

    def read(stream, key):
        (n, time), _ = key
        if clocked[stream].seen[n] < time:
            found.append(f"{key} read early")
        reads[key].append(clocked[stream].work())

    for number in range(minibatches):
        hand_over.before_reading(number)
        (features, key), (labels, label_key) = made(0), made(0)
        item = Input(number, features, labels)
        hand_over.was_read(number, item)
        for lane in range(len(lanes.streams)):
            hand_over.before_lane(lane, number)
            read(lane + 1, key)
            read(lane + 1, label_key)
            features, key = made(lane + 1)
            if not passes:
                labels, label_key = made(lane + 1)
            onward = Input(number, features, labels)
            hand_over.after_lane(lane, number, item, onward)
            item = onward
        del item, onward, features, labels
    return list(found), len(reads) - len(freed)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(lanes=st.integers(1, 9), minibatches=st.integers(1, 60), passes=st.booleans())
def test_memory_is_freed_only_after_its_last_reader(lanes, minibatches, passes):
    found, _ = misuses(ClockedLanes(lanes), minibatches, passes=passes)
    assert not found


def test_without_the_waits_memory_would_be_freed_early():
    """The check above can fail: streams that do not listen are found out."""
    found, _ = misuses(ClockedLanes(3, deaf=True), 20)
    assert any("freed early" in line for line in found)
    assert any("read early" in line for line in found)


def test_memory_in_flight_is_bounded():
    """By the lanes, not by the length of the run."""
    kept = [misuses(ClockedLanes(4), count)[1] for count in (50, 200, 800)]
    assert kept[0] == kept[1] == kept[2]
