"""The sweep log: what it says, and that nothing which befalls it costs more than a line."""

import pytest

from albench.errors import UsageError
from albench.harness import sweep_log
from albench.harness.outcome import Failure
from albench.harness.runner import Limits
from tests.harness.test_runner import GRID, cases, outcome, sweep

__all__ = ["cases"]  # a fixture


@pytest.mark.parametrize(
    ("limits", "because"),
    [
        (Limits(rounds=2), "all 2 rounds are done"),
        (Limits(rounds=50), "every median is known within 2%"),
        (Limits(rounds=5, sweep_seconds=1e-9), "the time limit of 1e-09 s was reached"),
    ],
    ids=["rounds", "known", "time"],
)
def test_which_limit_ended_a_sweep_is_kept(cases, tmp_path, limits, because):
    sweep(GRID, tmp_path, limits=limits)
    (end,) = sweep_log.read(tmp_path)
    assert end.stopped_because == because
    assert end.cases == len(cases.ran)
    assert (end.suite, end.order_seed, end.resumed) == ("test", 0, 0)
    assert end.started_at.endswith("+00:00")


def test_what_broke_a_sweep_off_is_kept_and_a_run_of_nothing_leaves_no_line(cases, tmp_path):
    cases.answers["of"] = lambda _: KeyboardInterrupt() if len(cases.ran) == 3 else outcome(1.0)
    with pytest.raises(KeyboardInterrupt):
        sweep(GRID, tmp_path)
    (end,) = sweep_log.read(tmp_path)
    assert (end.stopped_because, end.cases) == ("it was interrupted", 2)
    cases.answers["of"] = lambda _: outcome(1.0)
    for _ in range(2):
        sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert [(end.cases, end.resumed) for end in sweep_log.read(tmp_path)] == [(2, 0), (len(GRID) - 2, 2)]


def test_a_damaged_log_is_read_as_far_as_it_goes(cases, tmp_path):
    sweep(GRID, tmp_path, limits=Limits(rounds=1))
    whole = (tmp_path / sweep_log.FILE_NAME).read_bytes()
    (tmp_path / sweep_log.FILE_NAME).write_bytes(b"\xff\n{}\n" + whole + whole[:20])
    assert len(sweep_log.read(tmp_path)) == 1
    assert len(sweep_log.read(tmp_path / "records.jsonl")) == 1
    assert sweep_log.read(tmp_path / "other.jsonl") == [], "the log is of records.jsonl"
    assert sweep_log.read(tmp_path / "elsewhere" / "records.jsonl") == []


def test_a_torn_line_takes_no_other_with_it(cases, tmp_path):
    (tmp_path / sweep_log.FILE_NAME).write_bytes(b'{"format":"albench-sweep","suite":"on')
    sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert [end.cases for end in sweep_log.read(tmp_path)] == [len(GRID)]


def test_cases_that_were_refused_are_no_cases_that_were_run(cases, tmp_path):
    cases.answers["of"] = lambda _: Failure(status="failed", reason="no data: give --data-dir", usage=True)
    with pytest.raises(UsageError, match="--data-dir"):
        sweep(GRID, tmp_path)
    assert sweep_log.read(tmp_path) == []


def test_a_log_that_cannot_be_written_costs_nothing(cases, tmp_path):
    (tmp_path / sweep_log.FILE_NAME).mkdir()
    done = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert done.measured == len(GRID)
    assert sweep_log.read(tmp_path) == []
