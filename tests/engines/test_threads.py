"""The threads engine: the pipeline must end where the serial order ends, to the last bit, and never hang."""

import itertools
import os
import signal
import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.engines import ComponentError, make_engine
from albench.engines.engine import intra_op_threads
from albench.errors import UsageError
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained
from tests.forked_script import ForkedScript

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("lanes", [1, 2, 3, None])
@pytest.mark.parametrize("hidden_layers", [2, 4, 8, 14])
def test_bitwise_equal_to_serial(hidden_layers, lanes):
    """Weights, optimizer state and losses, with a ragged last mini-batch; None: a lane for every component."""
    data = batches(20, ragged=3)
    options = {"hidden_layers": hidden_layers}
    serial, serial_losses = trained("serial", data, **options)
    threads, threads_losses = trained("threads", data, lanes=lanes or hidden_layers // 2, **options)
    assert_bitwise_equal(serial, threads)
    assert serial_losses == threads_losses


def test_bitwise_equal_where_lanes_really_overlap():
    """Tasks of several milliseconds: both lanes are inside torch's operators at once."""
    data = batches(6, batch_size=64)
    serial, losses = trained("serial", data, net=network(6, width=384))
    for _ in range(3):
        threads, threads_losses = trained("threads", data, net=network(6, width=384), lanes=2)
        assert_bitwise_equal(serial, threads)
        assert losses == threads_losses


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
    data = batches(12, ragged=2)
    bridge_width = options.pop("net_bridge_width", None)
    serial, _ = trained("serial", data, net=network(6, bridge_width=bridge_width), **options)
    threads, _ = trained("threads", data, net=network(6, bridge_width=bridge_width), lanes=3, **options)
    assert_bitwise_equal(serial, threads)


@pytest.mark.parametrize("fits", [2, 5])
def test_repeated_fit_is_one_fit(fits):
    data = batches(20, ragged=3)
    whole, whole_losses = trained("serial", data)
    parts, parts_losses = trained("threads", data, lanes=2, fits=fits)
    assert_bitwise_equal(whole, parts)
    assert whole_losses == parts_losses


def test_more_lanes_than_components_are_capped_and_it_is_said():
    with make_engine("threads", network(4), lanes=7) as engine:
        assert engine.lanes == 2
        assert "7 lanes asked for, 2 used" in engine.notes[0]


def lane_threads():
    return [t for t in threading.enumerate() if t.name.startswith("albench-lane")]


def test_an_exception_in_a_lane_reaches_the_caller_and_every_thread_ends():
    net = network(8)
    calls = []

    def fail_on_the_fourth(*_):
        calls.append(1)
        if len(calls) == 4:
            raise ArithmeticError("made up")

    hook = net.components[2].f.register_forward_pre_hook(fail_on_the_fourth)
    before = torch.get_num_threads()
    with make_engine("threads", net, lanes=4) as engine:
        state = engine.state_dict()
        with pytest.raises(
            ComponentError, match="component 2 failed on mini-batch 3: ArithmeticError: made up"
        ) as caught:
            engine.fit(batches(50))
        assert caught.value.component == 2
        assert caught.value.minibatch == 3
        assert isinstance(caught.value.__cause__, ArithmeticError)
        assert not lane_threads()
        assert torch.get_num_threads() == before
        with pytest.raises(UsageError, match="load_state_dict"):
            engine.fit(batches(2))
        hook.remove()
        engine.load_state_dict(state)
        engine.fit(batches(20))
        assert_bitwise_equal(trained("serial", batches(20), learning_rate=1e-4)[0], engine.state_dict())


def test_a_real_ctrl_c_ends_the_run(tmp_path):
    """SIGINT to a process in the middle of a long fit: KeyboardInterrupt, no hang, no traceback of a lane."""
    script = tmp_path / "long.py"
    script.write_text(
        "import itertools, sys\n"
        "from pathlib import Path\n"
        "from albench.engines import make_engine\n"
        "from tests.engines.made_up import batches, network\n"
        "net = network(8)\n"
        "def endless():\n"
        "    for k in itertools.count():\n"
        "        if k == 20: Path(__file__).with_name('running').touch()\n"
        "        yield batches(1)[0]\n"
        "try:\n"
        "    make_engine('threads', net, lanes=2).fit(endless())\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(77)\n"
    )
    process = ForkedScript(script)
    try:
        deadline = time.monotonic() + 60
        while not script.with_name("running").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 77, errors
    assert not errors


@pytest.mark.parametrize("lanes", [1, 2, 3, 5])
def test_each_lane_runs_its_own_block_one_task_at_a_time(lanes):
    with make_engine("threads", network(10), lanes=lanes, trace=True) as engine:
        engine.fit(batches(8))
        assert [i for block in engine.blocks for i in block] == list(range(5))
        for lane, block in enumerate(engine.blocks):
            spans = [span for span in engine.spans if span.lane == lane]
            assert {span.component for span in spans} == set(block)
            assert len(spans) == 8 * len(block)
            for one, other in itertools.pairwise(spans):
                assert one.end_seconds <= other.start_seconds


def test_every_lane_computes_on_one_intra_op_thread_and_ends():
    """Two would share work in another order, and lanes would steal each other's cores."""
    net, seen = network(6), set()
    for component in net.components:
        component.register_forward_hook(
            lambda *_: seen.add((threading.current_thread().name, torch.get_num_threads())) and None
        )
    before = torch.get_num_threads()
    with intra_op_threads(2), make_engine("threads", net, lanes=3) as engine:
        engine.fit(batches(4))
        assert torch.get_num_threads() == 2
    assert seen == {(f"albench-lane-{lane}", 1) for lane in range(3)}
    assert not lane_threads()
    assert torch.get_num_threads() == before


def test_a_lane_that_cannot_be_started_leaves_no_thread_behind(monkeypatch):
    """As where a limit on threads is reached."""
    start = threading.Thread.start

    def refuse_the_third(thread):
        if thread.name == "albench-lane-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_the_third)
    with make_engine("threads", network(6), lanes=3) as engine:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            engine.fit(batches(4))
        assert not lane_threads()


@pytest.mark.parametrize("component", [0, 1, 3])
def test_whichever_lane_fails_nothing_hangs(component):
    """The first lane, one in the middle with full queues on both sides, the last; the reader may never end."""
    net = network(8)
    net.components[component].f.register_forward_pre_hook(_fail_on_call(30))
    with make_engine("threads", net, lanes=4) as engine:
        with pytest.raises(ComponentError, match=f"component {component} failed on mini-batch 30"):
            engine.fit(itertools.repeat(batches(1)[0]))
        assert not lane_threads()


def _fail_on_call(number):
    calls = itertools.count()

    def hook(*_):
        if next(calls) == number:
            raise ArithmeticError("made up")

    return hook


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 9), max_size=12),
    components=st.integers(1, 6),
    lanes=st.integers(1, 6),
    cut=st.integers(0, 12),
)
def test_any_run_is_serials_to_the_last_bit(sizes, components, lanes, cut):
    """Whatever the sizes of the mini-batches, the depth, the lanes and where fit is called again."""
    data = [batches(1, batch_size=size, seed=k)[0] for k, size in enumerate(sizes)]
    results = []
    for name in ("serial", "threads"):
        with make_engine(name, network(2 * components), learning_rate=1e-2, lanes=lanes) as engine:
            engine.fit(data[:cut])
            engine.fit(data[cut:])
            results.append((engine.state_dict(), engine.losses))
    assert_bitwise_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
