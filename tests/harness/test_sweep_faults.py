"""Faults of a whole sweep, injected while the command runs: what was measured stays, each record says what happened,
and a second run completes the sweep.
"""

import os
import random
import signal
import subprocess
import time

import psutil
import pytest
from typer.testing import CliRunner

from albench import cli
from albench.harness import sweep_log
from albench.harness.control import latest
from albench.harness.records import read
from albench.harness.suites import suite_scenarios
from albench.harness.sweep_file import suite_of
from tests.harness.test_instruments import samplers
from tests.harness.test_isolation import case_processes, gone, start

pytestmark = pytest.mark.timeout(240)

GREEDY_BATCH = 100_000
SUITE = f"""
rounds = 1
case_bytes = {3 * 2**29}

[[grid]]
contenders = [{{ method = "al", engine = "serial" }}]
hidden_layers = [8]
widths = [32]
batch_sizes = [16]
minibatches = [100, 110, 120, 130, 140]

[[grid]]
contenders = [{{ method = "al", engine = "serial" }}]
hidden_layers = [2]
widths = [8]
batch_sizes = [{GREEDY_BATCH}]
minibatches = [100]
datasets = ["synthetic"]
"""
"""Five cases that take some tenths of a second each, and one whose data alone are more than a case is allowed."""
LIMIT_SECONDS = "8"


def order_seed(suite):
    """Return a seed of the order in which the greedy case comes last."""
    for seed in range(1000):
        scenarios = suite_scenarios(suite_of(str(suite)))
        random.Random(f"{seed}/0").shuffle(scenarios)
        if scenarios[-1].batch_size == GREEDY_BATCH:
            return str(seed)
    raise AssertionError("the order is not what the runner's docstring says")


def sweep_of(suite, out, *options):
    return ("run", suite, "--out", out, "--no-progress", "--no-control", *options)


def start_sweep(*arguments):
    """Start a sweep that says everything on one stream."""
    return start(*sweep_of(*arguments), stderr=subprocess.STDOUT)


def here(*arguments):
    """Run a sweep in this process, which has a forkserver already."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in sweep_of(*arguments)])


def case_after(sweep, out, records):
    """Wait until so many records are on file and the next case is there; return its process."""
    deadline = time.monotonic() + 120
    file = out / "records.jsonl"
    while sweep.poll() is None and time.monotonic() < deadline:
        if file.exists() and file.read_bytes().count(b"\n") == records and (found := case_processes(sweep.pid)):
            return found[0]
        time.sleep(0.01)
    raise AssertionError(f"no case came after {records} records: {sweep.communicate(timeout=60)[0]}")


def test_whatever_befalls_single_cases_is_a_record_and_a_second_run_makes_up_for_it(tmp_path):
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE)
    sweep = start_sweep(suite, out, "--case-limit", LIMIT_SECONDS, "--order-seed", order_seed(suite))
    case_after(sweep, out, 1).send_signal(signal.SIGSTOP)  # a hang that nobody inside can do anything about
    second = here(suite, out)
    assert (second.exit_code, second.output.count("\n")) == (2, 1), second.output
    assert "is in use by another albench" in second.output
    case_after(sweep, out, 2).send_signal(signal.SIGKILL)
    case_after(sweep, out, 3)
    (sampler,) = samplers(sweep.pid)
    sampler.send_signal(signal.SIGKILL)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, said
    whole, hung, killed, unread, after, greedy = first = read(out)
    assert (whole.status, after.status) == ("measured", "measured")
    assert whole.telemetry is not None
    assert (hung.status, hung.reason) == ("timed-out", f"not done after its limit of {LIMIT_SECONDS} s")
    assert killed.status in ("failed", "out-of-memory")  # where the system keeps no count of those that it killed
    assert killed.reason.startswith("killed from outside")
    assert (unread.status, unread.telemetry) == ("measured", None)
    assert unread.telemetry_reason.startswith("the sampler ended by signal SIGKILL")
    assert greedy.status == "out-of-memory"
    assert greedy.reason.endswith("beyond its limit of 1.5 GiB")
    for lost in (hung, killed, greedy):
        assert lost.reason in said
    small = ("--hidden-layers", "8", "--width", "32", "--batch-size", "16", "--dataset", "digits")
    again = here(suite, out, "--retry-failed", *small)  # all but the greedy one
    assert again.exit_code == 0, again.output
    assert "2 cases measured now, 3 were on file" in again.output
    assert read(out)[: len(first)] == first
    assert sorted(record.status for record in latest(read(out))) == ["measured"] * 5 + ["out-of-memory"]
    assert [end.stopped_because for end in sweep_log.read(out)] == ["the only round is done"] * 2
    assert "the only round is done" in (out / "index.html").read_text()


def test_a_case_whose_sweep_is_killed_does_not_go_on_to_its_end(tmp_path):
    """It would take minutes, in which it took the cores from whatever is measured next."""
    suite, out = tmp_path / "suite.toml", tmp_path / "out"
    suite.write_text(SUITE)
    sweep = start_sweep(
        suite, out, "--no-telemetry", "--batch-size", "16", "--minibatches", "400000", "--dataset", "digits"
    )
    deadline = time.monotonic() + 120
    while not (cases := case_processes(sweep.pid)) or cases[0].cpu_times().user < 1:
        assert time.monotonic() < deadline, "the long case should be at work"
        time.sleep(0.05)
    family = psutil.Process(sweep.pid).children(recursive=True)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait(30)
    sweep.stdout.close()  # which whoever is left may hold open
    left = gone(family, seconds=10)
    for process in left:
        process.kill()
    assert not left
