"""Cases whose method runs in processes of its own: they start fast, and none of them outlives its case."""

import os
import signal
import threading
import time

import psutil
import pytest

from albench.harness.isolation import PRELOAD, run_isolated
from albench.harness.outcome import Failure, Outcome
from albench.harness.records import read
from albench.harness.runner import Limits, run_sweep
from albench.process import forkserver
from tests.forked_script import COMMAND, ForkedScript
from tests.harness.test_isolation import case_processes
from tests.harness.test_records import scenario
from tests.harness.test_runner import Silent

pytestmark = pytest.mark.timeout(180)
forkserver(PRELOAD)

TEAMS = {
    "gpipe": {"method": "gpipe", "engine": "ranks", "lanes": 2, "microbatches": 4},
    "zero-bubble": {"method": "zero-bubble", "engine": "ranks", "lanes": 2, "microbatches": 4},
    "ddp": {"method": "ddp", "engine": "ranks", "lanes": 2},
    "al ranks": {"engine": "ranks", "lanes": 2},
}


@pytest.mark.parametrize("name", TEAMS)
def test_a_case_of_several_processes_is_measured(name):
    """Its processes come from the runner's forkserver: one of the case's own would import torch for seconds."""
    run_isolated(scenario(minibatches=5), data_dir=None, limit_seconds=60)  # the server stands
    start = time.monotonic()
    answer = run_isolated(scenario(batch_size=8, minibatches=5, **TEAMS[name]), data_dir=None, limit_seconds=60)
    assert isinstance(answer, Outcome), answer
    assert answer.seconds > 0
    assert answer.accuracy is not None
    assert answer.lanes == 2
    assert answer.seconds < time.monotonic() - start
    assert not case_processes()
    assert len(psutil.Process().children()) <= 2  # the forkserver and the resource tracker: no other server


def kill_a_member_of_the_next_case():
    """Kill the process that came last, once a case and its members are there; return the thread that does."""

    def kill():
        for _ in range(1200):
            found = case_processes()
            if len(found) == 3:
                found.sort(key=lambda p: p.create_time())
                time.sleep(0.5)
                os.kill(found[-1].pid, signal.SIGKILL)
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    return killer


LONG = scenario(batch_size=8, minibatches=20_000, **TEAMS["gpipe"])


def test_a_member_that_is_killed_is_a_record_and_the_sweep_goes_on(tmp_path):
    killer = kill_a_member_of_the_next_case()
    after = scenario(minibatches=5)
    limits = Limits(rounds=1, control=False)
    sweep = run_sweep([LONG, after], tmp_path, suite="made up", limits=limits, progress=Silent())
    killer.join()
    found = {record.key: record for record in sweep.records}
    assert found[LONG.key].status == "failed"
    assert "rank 1 ended by signal SIGKILL" in found[LONG.key].reason
    assert found[after.key].status == "measured"
    assert not case_processes()


def test_two_sweeps_at_once_do_not_meet(tmp_path):
    """Every team picks a free port of its own: two command lines, started together, measure what each was asked for."""
    sizes = ["--microbatches", "4", "--width", "16", "--batch-size", "8", "--minibatches", "20"]
    command = ["run", "baselines", *sizes, "--rounds", "2", "--no-progress", "--no-control", "--no-telemetry"]
    sweeps = []
    for method in ("gpipe", "ddp"):
        script = tmp_path / f"{method}.py"
        script.write_text(COMMAND)
        sweeps.append(ForkedScript(script, *command, "--method", method, "--out", tmp_path / method))
    said = [sweep.communicate(timeout=150) for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    for method in ("gpipe", "ddp"):
        records = read(tmp_path / method)
        assert {record.scenario.method for record in records} == {method}
        assert {record.status for record in records} == {"measured"}


def test_no_member_outlives_a_case_over_its_limit():
    answer = run_isolated(LONG, data_dir=None, limit_seconds=3)
    assert isinstance(answer, Failure)
    assert answer.status == "timed-out"
    deadline = time.monotonic() + 10
    while case_processes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
