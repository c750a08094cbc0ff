"""The sampler, as a real process: what it reads, how it dies, and that nobody waits for it or is harmed by it."""

import contextlib
import multiprocessing
import os
import signal
import time

import msgspec
import psutil
import pytest

from albench.analysis.sampling import MINIMUM_READINGS
from albench.harness import sampler as module
from albench.harness.isolation import PRELOAD
from albench.harness.sampler import (
    FASTEST_SECONDS,
    PROCESS_NAME,
    START_FAILURES,
    GpuSource,
    Readings,
    Sampler,
)
from albench.process import child_environment, end_process, forkserver, nameless_main, server_address, use_server

pytestmark = pytest.mark.timeout(120)
NO_GPUS = GpuSource(visible="", cuda_order=None, module="tests.harness.fake_nvml")
AS_FAST_AS_CAN_BE = 1.0
"""So that short windows hold enough readings, however busy the machine is."""
FAKE_GPUS = GpuSource(visible=None, cuda_order=None, module="tests.harness.fake_nvml")


@contextlib.contextmanager
def sampler(source=NO_GPUS):
    with Sampler(preload=PRELOAD, gpu_source=source, busy_share=AS_FAST_AS_CAN_BE) as one:
        yield one


def window(one, seconds=0.6, *, gpus=False, used=()):
    """Let it read a window of some seconds; return what it tells."""
    one.begin(gpus=gpus)
    wait_for(lambda: one.process_id is None or psutil.Process(one.process_id).name() == PROCESS_NAME)
    time.sleep(0.1)
    start = time.perf_counter()
    busy_until(start + seconds)
    return one.window(start, time.perf_counter(), used_gpus=list(used))


def busy_until(moment):
    while time.perf_counter() < moment:
        sum(range(1000))


def wait_for(what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_window_of_this_process_at_work():
    with sampler() as one:
        found, reason = window(one)
    assert reason == ""
    assert found is not None
    assert found.samples >= MINIMUM_READINGS
    assert found.too_short == ""
    assert found.own_cores is not None
    assert found.own_cores > 0.1, "this process was at work all the time"
    assert found.sampler_cores is not None
    assert found.sampler_cores < found.own_cores
    assert found.gpus == []
    assert found.gpu_reason == "the case ran on the CPU"


def test_it_rests_between_cases():
    """Readings that nobody asked for would cost every user of the machine."""
    with sampler() as one:
        window(one)
        process = psutil.Process(one.process_id)
        before = sum(process.cpu_times()[:2])
        time.sleep(0.5)
        assert sum(process.cpu_times()[:2]) - before <= 0.011


def test_gpus_that_are_made_up_from_end_to_end():
    with sampler(FAKE_GPUS) as one:
        found, reason = window(one, gpus=True, used=["bbbbbbbb"])
    assert reason == ""
    assert found is not None
    assert [gpu.used for gpu in found.gpus] == [False, True]
    assert found.energy_joules == pytest.approx(100.0 * found.window_seconds, rel=0.2)
    assert found.gpus[1].mean_utilisation is None, "the window is shorter than NVML's own"


@pytest.mark.parametrize(("visible", "count"), [("1", 1), ("", 0)])
def test_the_sweeps_own_environment_decides_which_gpus_are_read(monkeypatch, visible, count):
    """The forkserver may have been started under another one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with sampler(GpuSource.from_environment("tests.harness.fake_nvml")) as one:
        found, _ = window(one, 0.3, gpus=True)
    assert found is not None
    assert len(found.gpus) == count
    assert bool(found.gpu_reason) == (count == 0)


def test_every_case_begins_anew():
    with sampler() as one:
        first, _ = window(one, 0.4)
        pid = one.process_id
        second, _ = window(one, 0.4)
        assert one.process_id == pid, "one process for all cases"
    assert first is not None
    assert second is not None
    assert second.samples <= first.samples * 3 + MINIMUM_READINGS


def test_killed_during_a_case_it_is_a_reason_and_the_next_case_has_another():
    with sampler() as one:
        one.begin(gpus=False)
        os.kill(one.process_id, signal.SIGKILL)
        time.sleep(0.1)
        found, reason = one.window(0.0, 1.0, used_gpus=[])
        assert found is None
        assert reason == "the sampler ended by signal SIGKILL during the case"
        assert one.process_id is None
        found, reason = window(one, 0.4)
        assert found is not None, reason


def test_killed_between_two_cases_it_is_replaced():
    with sampler() as one:
        window(one, 0.1)
        os.kill(one.process_id, signal.SIGKILL)
        wait_for(lambda: not multiprocessing.active_children())
        found, reason = window(one, 0.4)
        assert found is not None, reason


def test_one_that_hangs_is_killed_and_costs_a_bounded_time(monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    with sampler() as one:
        one.begin(gpus=False)
        process = psutil.Process(one.process_id)
        process.suspend()
        found, reason = one.window(0.0, 1.0, used_gpus=[])
        assert found is None
        assert reason == "the sampler did not answer within 0.3 s"
        assert gone(process)


def test_after_some_failures_the_sweep_goes_on_without():
    with sampler() as one:
        for _ in range(START_FAILURES):
            one.begin(gpus=False)
            os.kill(one.process_id, signal.SIGKILL)
            time.sleep(0.1)
            _, reason = one.window(0.0, 1.0, used_gpus=[])
        assert "the sweep goes on without" in reason
        one.begin(gpus=False)
        assert one.process_id is None
        assert one.window(0.0, 1.0, used_gpus=[]) == (None, reason)


def test_one_that_cannot_be_started_is_a_reason(monkeypatch):
    def broken(*_):
        raise OSError("no more processes")

    monkeypatch.setattr(module, "forkserver", broken)
    with sampler() as one:
        one.begin(gpus=False)
        found, reason = one.window(0.0, 1.0, used_gpus=[])
    assert found is None
    assert "no more processes" in reason


def test_without_a_shared_clock_there_is_none(monkeypatch):
    monkeypatch.setattr(module, "clock_reason", lambda: "processes do not share a clock here")
    with sampler() as one:
        one.begin(gpus=False)
        assert one.process_id is None
        assert one.window(0.0, 1.0, used_gpus=[]) == (None, "processes do not share a clock here")


def test_nothing_is_left_when_it_is_closed():
    with sampler() as one:
        one.begin(gpus=False)
        process = psutil.Process(one.process_id)
    assert gone(process)
    one.close()  # again, for nothing


def gone(process, seconds=10.0):
    _, alive = psutil.wait_procs([process], timeout=seconds)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_it_ends_when_its_parent_is_killed():
    """The parent is a child of this process that has a sampler; it cannot say good-bye."""
    reader, writer = forkserver(PRELOAD).Pipe(duplex=False)
    parent = forkserver(PRELOAD).Process(target=parent_of_a_sampler, args=(writer, server_address()))
    with nameless_main(), child_environment():
        parent.start()
    try:
        writer.close()
        assert reader.poll(60)
        found = psutil.Process(reader.recv())
        assert found.name() == PROCESS_NAME
        parent.kill()
        parent.join()
        assert gone(found)
    finally:
        end_process(parent, 0.0)
        parent.close()
        reader.close()


def parent_of_a_sampler(writer, address):
    use_server(address)
    one = Sampler(preload=PRELOAD, gpu_source=NO_GPUS)
    one.begin(gpus=False)
    wait_for(lambda: psutil.Process(one.process_id).name() == PROCESS_NAME)
    writer.send(one.process_id)
    time.sleep(600)


def test_a_wall_clock_that_jumps_moves_nothing(monkeypatch):
    """Neither side looks at it; one that did would find a window of years, or none."""

    def jumping():
        raise AssertionError("the wall clock was asked")

    monkeypatch.setattr(time, "time", jumping)
    readings = Readings(os.getpid(), NO_GPUS)
    readings.begin(gpus=False)
    start = time.perf_counter()
    for _ in range(MINIMUM_READINGS + 2):
        time.sleep(0.02)
        readings.take()
    found = readings.summary(module.Window(start, time.perf_counter(), []))
    assert found.own_cores is not None
    with sampler() as one:
        assert window(one, 0.4)[0] is not None


def test_a_long_case_is_read_less_often_and_memory_stays_flat(monkeypatch):
    monkeypatch.setattr(module, "KEPT_READINGS", 16)
    readings = Readings(os.getpid(), NO_GPUS, AS_FAST_AS_CAN_BE)
    readings.begin(gpus=False)
    start = time.perf_counter()
    for _ in range(60):
        readings.take()
    assert len(readings._kept) < 16
    assert readings.interval_seconds >= 8 * FASTEST_SECONDS
    assert readings._kept[0].host.at <= start
    times = [reading.host.at for reading in readings._kept]
    assert times == sorted(times)
    readings.begin(gpus=False)
    assert len(readings._kept) == 1
    assert readings.interval_seconds < 8 * FASTEST_SECONDS


def test_a_reading_that_is_dear_is_taken_less_often(monkeypatch):
    """NVML takes milliseconds on some machines; so does counting the CPU time of hundreds of cores."""
    monkeypatch.setattr(module.Host, "read", dear(module.Host.read))
    readings = Readings(os.getpid(), NO_GPUS)
    readings.begin(gpus=False)
    for _ in range(3):
        readings.take()
    assert readings.interval_seconds >= 0.005 / module.BUSY_SHARE


def dear(read):
    def slow(self):
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
        return read(self)

    return slow


def test_a_summary_that_fails_is_told_and_the_sampler_lives_on(monkeypatch):
    readings = Readings(os.getpid(), NO_GPUS)
    monkeypatch.setattr(Readings, "summary", lambda *_: [][1])
    answer = module._summary(readings, module.Window(0.0, 1.0, []))
    assert isinstance(answer, module.Unavailable)
    assert "IndexError" in answer.reason
    assert msgspec.json.decode(msgspec.json.encode(answer), type=module.Answer | module.Unavailable) == answer
