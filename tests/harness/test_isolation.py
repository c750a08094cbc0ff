"""Isolation, with real processes: fresh ones, none that outlives its parent, and every ending told as what it was."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest
import torch
from typer.testing import CliRunner

from albench import cli
from albench.engines.errors import ComponentError, RankError
from albench.harness import isolation, sweep_log
from albench.harness.control import without_controls
from albench.harness.isolation import run_isolated
from albench.harness.outcome import Failure, Outcome
from albench.harness.records import read
from albench.harness.sampler import PROCESS_NAME
from tests.conftest import obey_ctrl_c
from tests.forked_script import ForkedScript
from tests.harness.test_records import scenario

pytestmark = pytest.mark.timeout(180)
SMALL = scenario(minibatches=5)


def run(one=SMALL, limit_seconds=60.0):
    return run_isolated(one, data_dir=None, limit_seconds=limit_seconds)


def test_a_case_is_measured_in_a_process_of_its_own():
    before, main = dict(os.environ), sys.modules["__main__"]
    answer = run()
    assert isinstance(answer, Outcome)
    assert answer.seconds > 0
    assert 0 <= (answer.accuracy or 0) <= 1
    assert answer.components == 2
    assert os.environ == before
    assert sys.modules["__main__"] is main


def test_only_al_serial_tells_task_times():
    serial = run(scenario(engine="serial", minibatches=5))
    assert isinstance(serial, Outcome)
    assert serial.task_seconds is not None
    assert len(serial.task_seconds) == 2
    fused, bp = run(), run(scenario(method="bp", engine="eager"))
    assert isinstance(fused, Outcome)
    assert isinstance(bp, Outcome)
    assert fused.task_seconds is None
    assert bp.task_seconds is None


def test_random_labels_have_no_accuracy_and_say_why():
    answer = run(scenario(dataset="synthetic"))
    assert isinstance(answer, Outcome)
    assert answer.accuracy is None
    assert "random labels" in answer.accuracy_reason


def case_processes(process_id=None):
    """Return the cases under the forkserver of a process, or of this one, by looking for grandchildren."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process_id).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # such as the git that is asked for the commit
                found += child.children()
    return [p for p in found if process_name(p) not in ("", PROCESS_NAME)]


def process_name(process):
    """Return what the system calls a process; empty if it is gone."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def test_a_case_over_its_limit_is_ended():
    answer = run(scenario(engine="serial", minibatches=200_000, batch_size=1), limit_seconds=1.0)
    assert answer == Failure(status="timed-out", reason="not done after its limit of 1 s")
    assert not case_processes()


def test_running_out_of_memory_is_told_as_that():
    answer = run(scenario(width=300_000))
    assert isinstance(answer, Failure)
    assert answer.status == "out-of-memory"
    assert "\n" not in answer.reason


def test_a_case_that_allocates_without_end_is_ended_before_the_system_ends_something_else():
    """Two hundred mebibytes are its limit here; the data alone are more, and no one is killed but the case."""
    one = scenario(dataset="synthetic", batch_size=100_000, minibatches=40)
    answer = run_isolated(one, data_dir=None, limit_seconds=60.0, limit_bytes=200 * 2**20)
    assert isinstance(answer, Failure)
    assert answer.status == "out-of-memory"
    assert "beyond its limit of 0.2 GiB" in answer.reason
    assert not case_processes()


def test_bad_input_is_told_as_that():
    answer = run(scenario(dataset="mnist"))
    assert isinstance(answer, Failure)
    assert answer.usage
    assert "--data-dir" in answer.reason


@pytest.mark.parametrize(
    ("number", "kills", "status"),
    [
        (signal.SIGKILL, [3, 3], "failed"),
        (signal.SIGKILL, [3, 4], "out-of-memory"),
        (signal.SIGKILL, [None, None], "out-of-memory"),
        (signal.SIGTERM, [3, 3], "failed"),
    ],
    ids=["by a person", "by the system", "by nobody knows whom", "asked to end"],
)
def test_a_case_killed_from_outside_is_a_failure_not_a_hang(number, kills, status, monkeypatch):
    """Only the system's own counter tells whether memory ran out; where there is none, that is what is feared."""
    told = iter(kills)
    monkeypatch.setattr(isolation, "oom_kills", lambda: next(told))
    killer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import psutil, sys, time\n"
            "parent, number = psutil.Process(int(sys.argv[1])), int(sys.argv[2])\n"
            "me = psutil.Process()\n"
            "for _ in range(600):\n"
            "    cases = [p for c in parent.children() if c != me for p in c.children()]\n"
            "    if cases:\n"
            "        time.sleep(0.3)\n"
            "        cases[0].send_signal(number)\n"
            "        break\n"
            "    time.sleep(0.05)\n",
            str(os.getpid()),
            str(int(number)),
        ]
    )
    answer = run(scenario(engine="serial", minibatches=200_000, batch_size=1))
    killer.wait(60)
    assert isinstance(answer, Failure)
    assert answer.status == status


def test_an_unexpected_error_is_one_line_with_its_place(monkeypatch):
    monkeypatch.setattr("albench.harness.case.measure", lambda *_, **__: [][1])
    message = isolation._measure(msgspec.json.encode(SMALL), "")
    answer = isolation._answer(message)
    assert isinstance(answer, Failure)
    assert answer.status == "failed"
    assert "IndexError" in answer.reason
    assert "test_isolation.py" in answer.reason


def gone(processes, seconds=20.0):
    """Wait until all processes are gone; return those that are not."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


SWEEP = [
    "run", "quick", "--engine", "serial", "--hidden-layers", "8", "--minibatches", "700,800,900",
    "--rounds", "1", "--no-progress",
]  # fmt: skip


def start(*arguments, stderr=subprocess.PIPE):
    """Start the command line in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-m", "albench", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=obey_ctrl_c,
    )


def start_sweep(out: Path):
    """Start a real sweep and wait for its first record."""
    process = start(*SWEEP, "--out", out)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if (out / "records.jsonl").exists() and (out / "records.jsonl").read_bytes().count(b"\n") > 1:
            break  # the first is the control's
        time.sleep(0.05)
    time.sleep(0.5)  # into the middle of the next case
    family = psutil.Process(process.pid).children(recursive=True)
    assert family, "the sweep should be in the middle of a case"
    return process, family


def test_killing_a_sweep_leaves_no_process_and_loses_no_record(tmp_path):
    process, family = start_sweep(tmp_path)
    assert PROCESS_NAME in map(process_name, family), "its sampler should be at work as well"
    process.kill()
    process.communicate()
    assert not gone(family)
    kept = without_controls(read(tmp_path))
    assert kept
    again = CliRunner().invoke(cli.app, [*SWEEP, "--no-telemetry", "--out", str(tmp_path)])
    assert again.exit_code == 0, again.stderr
    assert f"{3 - len(kept)} cases measured now, {len(kept)} were on file" in again.stdout, again.stdout
    assert len(without_controls(read(tmp_path))) == 3


def test_ctrl_c_keeps_the_records_and_exits_with_130(tmp_path):
    process, family = start_sweep(tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("albench: interrupted")
    assert "Traceback" not in errors
    assert not gone(family)
    assert without_controls(read(tmp_path))
    assert [end.stopped_because for end in sweep_log.read(tmp_path)] == ["it was interrupted"]


def test_ctrl_c_while_the_server_still_imports_torch_is_one_line(tmp_path):
    """What a user sees who notices a slip at once; the server used to print where its imports were."""
    process = start(*SWEEP, "--out", tmp_path)
    deadline = time.monotonic() + 100
    while not (family := [p for p in psutil.Process(process.pid).children() if "forkserver" in command_of(p)]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    while family[0].memory_info().rss < 60 * 2**20:  # in the middle of importing
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.startswith("albench: interrupted")
    assert errors.count("\n") == 1
    assert not gone(family)


def command_of(process):
    """Return a process's command line; empty if it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_script_without_a_main_guard_can_run_cases(tmp_path):
    """A case must not import the caller's script: it would start the sweep again, without end."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from albench.harness.isolation import run_isolated\n"
        "from tests.harness.test_records import scenario\n"
        "print(type(run_isolated(scenario(), data_dir=None, limit_seconds=60)).__name__)\n"
    )
    out, errors = ForkedScript(script).communicate(timeout=120)
    assert out == "once\nOutcome\n", errors
    assert not errors


def test_what_is_preloaded_starts_no_thread():
    """A fork copies one thread only; a lock that another one held would stay locked for ever in the case."""
    run()  # the server stands
    (server,) = [process for process in psutil.Process().children() if "forkserver" in command_of(process)]
    assert isolation.PRELOAD in command_of(server)
    assert server.num_threads() == 1


def wrapped(inner, outer):
    error = outer
    error.__cause__ = inner
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "out-of-memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out-of-memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out-of-memory"),
        (RuntimeError("CUDA error: out of memory"), "out-of-memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out-of-memory"),
        (
            wrapped(torch.OutOfMemoryError("no more"), ComponentError(range(3, 4), 0, ValueError("made up"))),
            "out-of-memory",
        ),
        (RankError(1, "failed: OutOfMemoryError: CUDA out of memory"), "out-of-memory"),
        (wrapped(ValueError("no"), RuntimeError("made up")), "failed"),
    ],
    ids=str,
)
def test_a_want_of_memory_is_known_through_whatever_is_around_it(error, status):
    """Else the larger cases of the line would be tried, one after the other, each to the same end."""

    def measure(scenario, *, data_dir):
        raise error

    answer = msgspec.json.decode(isolation._told(measure, msgspec.json.encode(SMALL), ""), type=isolation.Failure)
    assert answer.status == status
