"""Peak memory: the system's high-water marks, and the pass that reads them, in processes that really take memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from albench.harness import isolation
from albench.harness.isolation import run_isolated
from albench.harness.memory import (
    Memory,
    give_back_free_memory,
    high_water_mark_bytes,
    reset_high_water_mark,
    whole_life_peak_bytes,
)
from albench.harness.memory_pass import EXTRA_MINIBATCHES, DeviceMemory
from albench.harness.outcome import Failure, Outcome
from tests.harness.test_records import scenario

pytestmark = pytest.mark.timeout(180)
MEBIBYTE = 2**20


def run(one, **options):
    return run_isolated(one, data_dir=None, limit_seconds=60.0, **({"memory": True} | options))


def memory_of(one) -> Memory:
    answer = run(one)
    assert isinstance(answer, Outcome), answer
    assert answer.memory is not None, answer.memory_reason
    return answer.memory


MARKS = """
from albench.harness.memory import *
def mark(): return high_water_mark_bytes(os.getpid())
before = mark()
held = b"x" * (200 * 2**20)
high = mark()
del held
give_back_free_memory()
done = reset_high_water_mark()
print(done, high - before, mark() - before, whole_life_peak_bytes() - before)
"""


def test_a_mark_that_was_set_back_forgets_what_was_freed():
    result = subprocess.run(
        [sys.executable, "-c", MARKS],
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    done, high, low, life = result.stdout.split()
    if done != "True":
        pytest.skip("the system does not let a process set its high-water mark back")
    assert int(high) >= 199 * MEBIBYTE
    assert int(low) < 20 * MEBIBYTE
    assert int(life) >= 199 * MEBIBYTE, "the mark of the whole life is what it was"


def test_where_it_cannot_be_set_back_that_is_known(tmp_path):
    """No such file, a system that refuses, and one that takes the order and does nothing."""
    assert not reset_high_water_mark(tmp_path / "nowhere")
    (tmp_path / "clear_refs").mkdir()
    assert not reset_high_water_mark(tmp_path)
    (tmp_path / "clear_refs").rmdir()
    (tmp_path / "status").write_text("VmHWM:\t  900000 kB\nVmRSS:\t  300000 kB\n")
    assert not reset_high_water_mark(tmp_path)
    (tmp_path / "status").write_text("VmHWM:\t  300100 kB\nVmRSS:\t  300000 kB\n")
    assert reset_high_water_mark(tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"


def test_a_process_that_is_gone_has_no_mark():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert high_water_mark_bytes(process.pid) is None
    give_back_free_memory()
    assert whole_life_peak_bytes() >= (high_water_mark_bytes(os.getpid()) or 0) // 2


@pytest.mark.parametrize("method", [{"engine": "serial"}, {"method": "bp", "engine": "eager"}])
def test_the_peak_grows_with_the_network(method):
    """Weights, gradients and Adam's two moments: 16 bytes a parameter at least, in float32."""
    small = memory_of(scenario(minibatches=5, width=16, **method))
    large = memory_of(scenario(minibatches=5, width=1500, **method))
    answer = large.host_peak_bytes - large.host_baseline_bytes
    parameters = 3 * 1500**2
    assert answer > 16 * parameters
    assert answer < 80 * parameters
    assert small.host_peak_bytes - small.host_baseline_bytes < answer / 3
    assert large.process_peak_bytes == [large.host_peak_bytes]
    assert large.minibatches == (4 if "method" in method else 5), "an AL network has a pipeline to fill"
    assert large.device_peak_bytes is None
    assert large.device_reason == "the case ran on the CPU"


def test_the_pass_is_short_whatever_the_window():
    assert memory_of(scenario(minibatches=500, width=8)).minibatches == 2 + EXTRA_MINIBATCHES


@pytest.mark.parametrize(
    "method", [{"method": "ddp", "engine": "ranks", "lanes": 2}, {"engine": "ranks", "lanes": 2}], ids=["ddp", "al"]
)
def test_the_processes_of_a_team_count(method):
    """DDP: this process and two members; AL on ranks: this process is one of two."""
    found = memory_of(scenario(batch_size=8, minibatches=5, **method))
    assert len(found.process_peak_bytes) == (3 if "method" in method else 2)
    assert found.host_peak_bytes == sum(found.process_peak_bytes)
    assert min(found.process_peak_bytes) > 10 * MEBIBYTE


def test_it_is_only_taken_when_asked_for():
    answer = run(scenario(minibatches=5), memory=False)
    assert isinstance(answer, Outcome)
    assert answer.memory is None
    assert answer.peak_memory_bytes > 0


def refuses(*_):
    raise MemoryError("made up")


def dies(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(*_):
    signal.pause()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (refuses, "MemoryError: made up"),
        (dies, isolation.KILLED),
        (hangs, "not done within the limit of the case"),
    ],
)
def test_a_fault_of_the_pass_costs_the_memory_and_not_the_time(monkeypatch, fault, reason):
    """The time is with the runner before the pass begins: an out-of-memory there must not undo it."""
    monkeypatch.setattr(isolation, "_case_main", CaseWith(fault))
    monkeypatch.setattr(isolation, "oom_kills", lambda: 0)
    limit = 4.0 if fault is hangs else 60.0
    answer = run_isolated(scenario(minibatches=5), data_dir=None, limit_seconds=limit, memory=True)
    assert isinstance(answer, Outcome), answer
    assert answer.seconds > 0
    assert answer.memory is None
    assert answer.memory_reason == reason


class CaseWith:
    """The case's own process, with a fault in its memory pass."""

    def __init__(self, fault):
        self.fault = fault

    def __call__(self, *arguments):
        from albench.harness import memory_pass

        memory_pass.make_trainer = self.fault
        REAL_MAIN(*arguments)


REAL_MAIN = isolation._case_main


def test_a_case_that_fails_has_no_pass():
    answer = run(scenario(width=300_000))
    assert isinstance(answer, Failure)
    assert answer.status == "out-of-memory"


class FakeCuda:
    """``torch.cuda``, with the few calls that are used."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        values = {"memory_allocated": 100, "max_memory_allocated": 700, "max_memory_reserved": 1024}
        return lambda: self.calls.append(name) or values.get(name)


def test_a_devices_peak_is_set_back_before_the_trainer_is_made():
    cuda = FakeCuda()
    device = DeviceMemory("cuda", cuda)
    device.reset()
    assert cuda.calls.index("reset_peak_memory_stats") < cuda.calls.index("memory_allocated")
    assert device.found(processes=0) == {
        "device_peak_bytes": 700,
        "device_baseline_bytes": 100,
        "device_reserved_peak_bytes": 1024,
    }


def test_a_device_that_other_processes_use_is_a_reason():
    device = DeviceMemory("cuda", FakeCuda())
    device.reset()
    assert "3 processes hold it" in device.found(processes=3)["device_reason"]


def test_without_a_device_cuda_is_not_touched():
    cuda = FakeCuda()
    device = DeviceMemory("cpu", cuda)
    device.reset()
    assert device.found(processes=0) == {"device_reason": "the case ran on the CPU"}
    assert cuda.calls == []
