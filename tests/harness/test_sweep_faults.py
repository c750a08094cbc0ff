"""Faults of a whole sweep, injected while the command runs: what was measured stays, the record says what happened,
and the same command with --retry-failed completes it.
"""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from albench.harness import sweep_log
from albench.harness.control import latest, without_controls
from albench.harness.records import read
from albench.harness.sampler import PROCESS_NAME
from tests.conftest import obey_ctrl_c
from tests.harness.test_isolation import gone, process_name

pytestmark = pytest.mark.timeout(240)

SUITE = """
contenders = [{ method = "al", engine = "serial" }]
hidden_layers = [8]
widths = [32]
batch_sizes = [16]
minibatches = [700, 800, 900]
rounds = 1
"""
"""Three cases that take a second or two each: long enough to be caught at work."""
LIMIT_SECONDS = "8"


def start(suite, out, *options):
    """Start a sweep in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "albench", "run", str(suite), "--out", str(out), "--no-progress", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=obey_ctrl_c,
    )


def processes(sweep, *, samplers):
    """Return the sweep's samplers, or its cases: they are children of its forkserver."""
    servers = psutil.Process(sweep.pid).children()
    found = [p for server in servers for p in server.children() if process_name(p)]
    return [p for p in found if (process_name(p) == PROCESS_NAME) == samplers]


def catch_a_case(sweep, out, *, samplers=False):
    """Wait for a case in the middle of the sweep; return its process, or its sampler's."""
    deadline = time.monotonic() + 120
    while sweep.poll() is None and time.monotonic() < deadline:
        file = out / "records.jsonl"
        if file.exists() and file.read_bytes().count(b"\n") >= 2:  # the control's and one case's
            time.sleep(0.5)
            for process in processes(sweep, samplers=samplers):
                return process
        time.sleep(0.02)
    raise AssertionError(f"no case was at work: {sweep.communicate(timeout=60)[0]}")


def stop(process):
    """A hang that nobody inside can do anything about."""
    process.send_signal(signal.SIGSTOP)


def kill(process):
    process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("inject", "status", "words"),
    [
        (stop, {"timed-out"}, f"not done after its limit of {LIMIT_SECONDS} s"),
        (kill, {"failed", "out-of-memory"}, "killed from outside"),  # where the system keeps no count of kills
    ],
    ids=["hangs", "killed"],
)
def test_a_case_that_is_lost_is_a_record_and_is_made_up_for(inject, status, words, tmp_path):
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE)
    sweep = start(suite, out, "--case-limit", LIMIT_SECONDS)
    inject(catch_a_case(sweep, out))
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, said
    records = without_controls(read(out))
    assert sorted(record.status == "measured" for record in records) == [False, True, True]
    (lost,) = [record for record in records if record.status != "measured"]
    assert lost.status in status
    assert words in lost.reason
    assert words in said
    again = start(suite, out, "--retry-failed")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "1 cases measured now, 2 were on file" in said
    assert [record.status for record in latest(without_controls(read(out)))] == ["measured"] * 3


def test_a_case_that_allocates_without_end_is_a_record_and_is_made_up_for(tmp_path):
    """Its data alone are more than it is allowed; a second run with more room measures it."""
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    greedy = SUITE.replace("[700, 800, 900]", "[8]").replace("[16]", "[16, 100_000]") + 'datasets = ["synthetic"]\n'
    suite.write_text(greedy + f"case_bytes = {150 * 2**20}\n")
    first = start(suite, out)
    said, _ = first.communicate(timeout=120)
    assert first.returncode == 0, said
    found = {record.scenario.batch_size: record for record in without_controls(read(out))}
    assert found[16].status == "measured"
    assert found[100_000].status == "out-of-memory"
    assert "of memory were left" in found[100_000].reason
    suite.write_text(greedy)
    again = start(suite, out, "--retry-failed")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert {record.status for record in latest(without_controls(read(out)))} == {"measured"}


def test_a_killed_sampler_costs_a_sweep_nothing_but_telemetry(tmp_path):
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE)
    sweep = start(suite, out)
    kill(catch_a_case(sweep, out, samplers=True))
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, said
    records = without_controls(read(out))
    assert [record.status for record in records] == ["measured"] * 3
    (without,) = [record for record in records if record.telemetry is None]
    assert "ended by signal SIGKILL" in without.telemetry_reason


def test_a_case_whose_sweep_is_killed_does_not_go_on_to_its_end(tmp_path):
    """It would take minutes, in which it took the cores from whatever is measured next."""
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE.replace("[700, 800, 900]", "[8, 400_000]"))
    sweep = start(suite, out, "--no-telemetry", "--no-control")
    deadline = time.monotonic() + 120
    while not (family := psutil.Process(sweep.pid).children(recursive=True)) or not processes(sweep, samplers=False):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while len(family := psutil.Process(sweep.pid).children(recursive=True)) < 3 or family[-1].cpu_times().user < 3:
        assert time.monotonic() < deadline, "the long case should be at work"
        time.sleep(0.1)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    assert not gone(family, seconds=10)


def test_why_a_sweep_ended_is_kept_and_reported(tmp_path):
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE)
    sweep = start(suite, out)
    catch_a_case(sweep, out)
    os.killpg(sweep.pid, signal.SIGINT)
    sweep.communicate(timeout=60)
    again = start(suite, out)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    broken_off, whole = sweep_log.read(out)
    assert broken_off.stopped_because == "it was interrupted"
    assert whole.stopped_because == "all 1 rounds are done"
    assert broken_off.cases < 3
    assert whole.resumed == len(without_controls(read(out))) - whole.cases
    page = (out / "index.html").read_text()
    assert "it was interrupted" in page
    assert "all 1 rounds are done" in page


def test_two_sweeps_cannot_share_a_directory(tmp_path):
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE)
    sweep = start(suite, out)
    catch_a_case(sweep, out)
    second = start(suite, out)
    said, _ = second.communicate(timeout=60)
    assert (second.returncode, said.count("\n")) == (2, 1), said
    assert "is in use by another albench" in said
    assert sweep.wait(120) == 0
    assert [record.status for record in without_controls(read(out))] == ["measured"] * 3
