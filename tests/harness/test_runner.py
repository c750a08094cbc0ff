"""The runner's policy, with cases that are made up: order, rounds, resume, failures."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from albench.errors import UsageError
from albench.harness import control, filing, runner
from albench.harness.control import CONTROL, flags, is_control, latest, without_controls
from albench.harness.outcome import Failure, Outcome
from albench.harness.records import read as read_all
from albench.harness.runner import Limits, run_sweep
from tests.harness.test_records import scenario


class Silent:
    """A progress that nobody sees."""

    def planned(self, estimated_seconds, cases):
        self.cases = cases

    def added(self, estimated_seconds, cases):
        self.cases += cases

    def started(self, scenario, number):
        pass

    def finished(self, record, estimated_seconds):
        pass


def outcome(seconds):
    return Outcome(
        seconds=seconds,
        lanes=1,
        lane_kind="cpu-thread",
        components=2,
        effective_parameters=1,
        affiliated_parameters=1,
        accuracy=0.5,
        accuracy_reason="",
        losses=[],
        flops_per_minibatch=None,
        task_seconds=None,
        peak_memory_bytes=1,
        notes=[],
    )


@pytest.fixture
def cases(monkeypatch):
    """Replace isolated cases by a function of the scenario; keeps the scenarios that were run, controls aside."""
    ran = []
    answers = {}

    def fake(one, *, data_dir, limit_seconds, limit_bytes, memory):
        if one.purpose == "control":
            return outcome(answers.get("control", lambda: 1.0)())
        ran.append(one)
        answer = answers.get("of", lambda _: outcome(1.0))(one)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(runner, "run_isolated", fake)
    fake.ran, fake.answers = ran, answers
    return fake


def read(directory):
    """Return the records of what was asked for."""
    return without_controls(read_all(directory))


def sweep(scenarios, directory: Path, **options):
    limits = options.pop("limits", Limits(rounds=3))
    options.setdefault("telemetry", False)  # what is tried here is the order of cases that are made up
    return run_sweep(scenarios, directory, suite="test", limits=limits, progress=Silent(), **options)


GRID = [scenario(width=width, hidden_layers=depth) for width in (8, 9, 10) for depth in (2, 4, 6)]


def test_rounds_are_interleaved_and_shuffled_by_the_recorded_seed(cases, tmp_path):
    sweep(GRID, tmp_path / "a", order_seed=1)
    first = list(cases.ran)
    rounds = [first[i : i + 9] for i in range(0, 27, 9)]
    assert all(sorted(r, key=repr) == sorted(GRID, key=repr) for r in rounds), "a round runs every scenario once"
    assert rounds[0] != rounds[1] != rounds[2]
    cases.ran.clear()
    sweep(GRID, tmp_path / "b", order_seed=1)
    assert cases.ran == first, "the same seed, the same order"
    assert {record.order_seed for record in read_all(tmp_path / "b")} == {1}
    cases.ran.clear()
    sweep(GRID, tmp_path / "c", order_seed=2)
    assert cases.ran != first


def test_what_is_on_file_is_not_run_again(cases, tmp_path):
    sweep(GRID[:4], tmp_path, limits=Limits(rounds=1))
    result = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert (result.run, result.resumed) == (5, 4)
    assert len(read(tmp_path)) == 9
    again = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert (again.run, again.resumed) == (0, 9)


@pytest.mark.parametrize("stop_after", range(1, 9, 3))
def test_a_sweep_broken_off_anywhere_goes_on_where_it_was(cases, tmp_path, stop_after):
    counter = itertools.count()
    cases.answers["of"] = lambda _: KeyboardInterrupt() if next(counter) == stop_after else outcome(1.0)
    with pytest.raises(KeyboardInterrupt):
        sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert len(read(tmp_path)) == stop_after
    result = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert (result.run, result.resumed) == (9 - stop_after, stop_after)
    assert sorted(r.key for r in read(tmp_path)) == sorted(s.key for s in GRID)


def test_a_failure_is_a_record_and_is_retried_only_when_asked(cases, tmp_path):
    cases.answers["of"] = lambda one: (
        Failure(status="failed", reason="made up") if one.hidden_layers == 4 else outcome(1.0)
    )
    result = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert result.measured == 6
    assert [r.reason for r in without_controls(result.records) if r.status == "failed"] == ["made up"] * 3
    cases.answers["of"] = lambda _: outcome(1.0)
    assert sweep(GRID, tmp_path, limits=Limits(rounds=1)).run == 0
    assert sweep(GRID, tmp_path, limits=Limits(rounds=1), retry_failed=True).run == 3


def test_after_out_of_memory_larger_cases_of_the_line_are_skipped_and_say_so(cases, tmp_path):
    cases.answers["of"] = lambda one: (
        Failure(status="out-of-memory", reason="made up") if one.width == 9 and one.hidden_layers >= 4 else outcome(1.0)
    )
    order = [s for depth in (2, 4, 6) for s in GRID if s.hidden_layers == depth]
    result = sweep(order, tmp_path, limits=Limits(rounds=2))
    for record in without_controls(result.records):
        if record.scenario.width == 8 or record.scenario.hidden_layers == 2:
            assert record.status == "measured"
    skipped = [r for r in without_controls(result.records) if r.status == "skipped"]
    assert skipped
    assert all(r.scenario.hidden_layers >= 4 and "ran out of memory" in r.reason for r in skipped)
    assert {r.scenario.width for r in skipped} == {9, 10}, "a wider case of the same depth needs more memory too"


def test_what_ran_out_of_memory_and_was_measured_since_keeps_nothing_from_being_tried(cases, tmp_path):
    """As after a second attempt: else larger cases were skipped for ever, with a reason that was no longer true."""
    line = [scenario(hidden_layers=depth) for depth in (2, 4, 6)]
    cases.answers["of"] = lambda one: Failure(status="out-of-memory", reason="made up")
    sweep(line[:1], tmp_path, limits=Limits(rounds=1))
    cases.answers["of"] = lambda _: outcome(1.0)
    assert sweep(line, tmp_path, limits=Limits(rounds=1)).measured == 0, "without a retry it holds"
    result = sweep(line, tmp_path, limits=Limits(rounds=1), retry_failed=True)
    assert result.measured == 3


def test_input_that_is_to_blame_ends_the_sweep(cases, tmp_path):
    """A missing data directory would fail every case alike: one line, not forty-five records."""
    cases.answers["of"] = lambda _: Failure(status="failed", reason="give --data-dir", usage=True)
    with pytest.raises(UsageError, match="give --data-dir"):
        sweep(GRID, tmp_path)
    assert len(cases.ran) == 3
    assert read(tmp_path) == []
    with pytest.raises(UsageError, match="give --data-dir"):
        sweep(GRID[:2], tmp_path)
    assert read(tmp_path) == [], "so that nothing passes for done once the directory is given"


def test_a_case_that_this_machine_cannot_run_does_not_end_the_sweep(cases, tmp_path):
    """Sixteen shares of a GPU that has fifteen: the others can be measured, whichever comes first."""
    refused = GRID[:2]

    def answer(one):
        if one in refused:
            return Failure(status="failed", reason="give at most 15", usage=True)
        return outcome(1.0)

    cases.answers["of"] = answer
    for seed in range(6):
        result = sweep(GRID, tmp_path / str(seed), limits=Limits(rounds=1), order_seed=seed)
        assert result.measured == len(GRID) - 2
        assert {one.status for one in read(tmp_path / str(seed))} == {"measured"}
        assert result.warnings == ["2 cases could not be run as asked for and left no record: give at most 15"]
    cases.answers["of"] = lambda _: outcome(1.0)
    result = sweep(GRID, tmp_path / "0", limits=Limits(rounds=1))
    assert (result.run, result.measured) == (2, len(GRID)), "what was amiss was mended, and nothing passes for done"


def test_stops_when_every_median_is_known(cases, tmp_path):
    result = sweep(GRID, tmp_path, limits=Limits(rounds=20, relative_half_width=0.05))
    assert result.run == 6 * 9, "six equal samples are the fewest that can make a 95 % interval"
    assert "every median is known" in result.stopped_because


def test_only_what_is_not_known_goes_on(cases, tmp_path):
    noise = itertools.cycle([1.0, 2.0, 4.0])
    cases.answers["of"] = lambda one: outcome(next(noise) if one == GRID[0] else 1.0)
    result = sweep(GRID, tmp_path, limits=Limits(rounds=10, relative_half_width=0.05))
    counts = {s.key: 0 for s in GRID}
    for record in without_controls(result.records):
        counts[record.key] += 1
    assert counts.pop(GRID[0].key) == 10
    assert set(counts.values()) == {6}
    assert result.stopped_because == "all 10 rounds are done"


def test_the_first_round_is_finished_whatever_the_time(cases, tmp_path, monkeypatch):
    clock = itertools.count(0, 100)
    monkeypatch.setattr(runner.time, "monotonic", lambda: float(next(clock)))
    result = sweep(GRID, tmp_path, limits=Limits(rounds=3, sweep_seconds=1.0))
    assert result.run == 9
    assert "time limit of 1 s" in result.stopped_because


def test_training_to_the_end_is_done_once(cases, tmp_path):
    scenarios = [scenario(), scenario(purpose="accuracy")]
    result = sweep(scenarios, tmp_path, limits=Limits(rounds=3))
    assert [r.scenario.purpose for r in without_controls(result.records)].count("accuracy") == 1
    assert result.run == 4


def test_records_made_elsewhere_are_pointed_out(cases, tmp_path, monkeypatch):
    sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert sweep(GRID, tmp_path, limits=Limits(rounds=1)).warnings == []
    real = runner.environment.describe
    monkeypatch.setattr(runner.environment, "describe", lambda: real() | {"cpu": "another"})
    assert "cpu differ" in sweep(GRID, tmp_path, limits=Limits(rounds=1)).warnings[0]


def test_nothing_to_run_is_said(cases, tmp_path):
    with pytest.raises(UsageError, match="no scenario"):
        sweep([], tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 0},
        {"rounds": 10**9},
        {"case_seconds": 0},
        {"sweep_seconds": -1.0},
        {"sweep_seconds": float("nan")},
        {"relative_half_width": float("inf")},
    ],
)
def test_limits_that_would_run_nothing_are_refused(changes):
    with pytest.raises(UsageError):
        Limits(**changes)


@pytest.fixture
def always_due(monkeypatch):
    """Let a control be due before every case."""
    monkeypatch.setattr(control, "CONTROL_EVERY_SECONDS", -1.0)
    monkeypatch.setattr(control, "CUDA_CONTROL_EVERY_SECONDS", -1.0)


def test_a_control_runs_through_the_sweep(cases, tmp_path, always_due):
    sweep(GRID, tmp_path, limits=Limits(rounds=2))
    kinds = [record.key == CONTROL.key for record in read_all(tmp_path)]
    assert kinds == [True, False] * 9 + [True] + [True, False] * 9 + [True]
    assert [r.round for r in read_all(tmp_path) if r.key == CONTROL.key] == list(range(20)), "each its own number"


def test_controls_are_seldom_and_end_a_round(cases, tmp_path):
    sweep(GRID, tmp_path, limits=Limits(rounds=1))
    kinds = [record.key == CONTROL.key for record in read_all(tmp_path)]
    assert kinds == [True] + [False] * 9 + [True]
    again = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert again.run == 0
    assert len(read_all(tmp_path)) == 11, "where nothing is measured nothing is watched"


def test_without_a_control_there_is_none(cases, tmp_path):
    sweep(GRID, tmp_path, limits=Limits(rounds=1, control=False))
    assert len(read_all(tmp_path)) == 9


def test_what_was_measured_off_the_pace_is_measured_again_once(cases, tmp_path, always_due):
    """The third control of ten is a third slower: the two cases beside it are flagged."""
    paces = itertools.chain([1.0, 1.0, 1.33], itertools.repeat(1.0))
    times = itertools.count(1.0)
    cases.answers["control"] = lambda: next(paces)
    cases.answers["of"] = lambda _: outcome(next(times))
    result = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    again = [record for record in read(tmp_path) if record.attempt]
    assert result.run == 11
    assert {record.key for record in again} == {record.key for record in read(tmp_path)[1:3]}
    assert [record.attempt for record in again] == [1, 1]
    counting = latest(result.records)
    assert len(counting) == 9
    assert {2.0, 3.0}.isdisjoint(record.seconds for record in counting), "the second attempt counts"
    assert flags(result.records) == []
    assert result.warnings == []
    resumed = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert resumed.run == 0, "a flagged round that was run again needs no third run"


@pytest.mark.parametrize("stop_after", [9, 10])
def test_a_sweep_killed_in_its_second_attempts_takes_up_those_that_are_left(cases, tmp_path, always_due, stop_after):
    """And no more than a quarter of the round in all, however often it is killed."""
    paces = itertools.chain([1.0, 1.0, 1.33], itertools.repeat(1.0))
    cases.answers["control"] = lambda: next(paces)
    cases.answers["of"] = lambda _: KeyboardInterrupt() if len(cases.ran) == stop_after + 1 else outcome(1.0)
    with pytest.raises(KeyboardInterrupt):
        sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert len(read(tmp_path)) == stop_after
    cases.answers["of"] = lambda _: outcome(1.0)
    assert sweep(GRID, tmp_path, limits=Limits(rounds=1)).run == 11 - stop_after
    assert [record.attempt for record in read(tmp_path)[9:]] == [1, 1]
    assert sweep(GRID, tmp_path, limits=Limits(rounds=1)).run == 0


def test_what_was_flagged_in_a_round_stays_when_the_next_one_has_begun(cases, tmp_path, always_due):
    paces = itertools.chain([1.0, 1.0, 1.33], itertools.repeat(1.0))
    cases.answers["control"] = lambda: next(paces)
    sweep(GRID[:3], tmp_path, limits=Limits(rounds=1))  # too few for a second attempt
    assert len(flags(read_all(tmp_path))) == 2
    assert sweep(GRID, tmp_path, limits=Limits(rounds=2)).run == 6 + 9 + 2, "the round is open while it is the last"
    assert sweep(GRID, tmp_path, limits=Limits(rounds=2)).run == 0


def test_each_device_has_a_control_of_its_own(cases, tmp_path):
    """A CPU that keeps its pace says nothing of a GPU whose clock is held back."""
    on_gpu = [scenario(width=width, device="cuda") for width in (8, 9, 10, 11)]
    sweep(on_gpu, tmp_path / "gpu", limits=Limits(rounds=1))
    watched = {record.scenario.device for record in read_all(tmp_path / "gpu") if is_control(record)}
    assert watched == {"cuda"}
    sweep([*GRID, *on_gpu], tmp_path / "both", limits=Limits(rounds=1))
    controls = [record for record in read_all(tmp_path / "both") if is_control(record)]
    assert [(r.scenario.device, r.round) for r in controls] == [("cpu", 0), ("cuda", 0), ("cpu", 1), ("cuda", 1)]


def test_a_slow_gpu_flags_what_ran_on_it_alone(cases, tmp_path, always_due):
    on_gpu = [scenario(width=width, device="cuda") for width in (8, 9, 10, 11)]
    paces = itertools.cycle([1.0, 1.0, 1.0, 1.0, 1.0, 1.5])  # cpu, cuda, cpu, cuda, …
    cases.answers["control"] = lambda: next(paces)
    result = sweep([*GRID, *on_gpu], tmp_path, limits=Limits(rounds=1))
    assert {flag.record.scenario.device for flag in flags(result.records)} == {"cuda"}


def test_a_machine_that_never_keeps_its_pace_ends_and_says_so(cases, tmp_path, always_due):
    paces = itertools.cycle([1.0, 1.5])
    cases.answers["control"] = lambda: next(paces)
    result = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert result.run == 9 + 2, "a quarter of the round"
    assert "off its pace" in result.warnings[0]
    assert flags(result.records)
    assert sweep(GRID, tmp_path, limits=Limits(rounds=1)).run == 0, "what is on file is not measured again for ever"


def test_a_second_attempt_that_fails_does_not_take_the_place_of_a_time(cases, tmp_path, always_due):
    paces = itertools.chain([1.0, 1.0, 1.33], itertools.repeat(1.0))
    cases.answers["control"] = lambda: next(paces)
    cases.answers["of"] = lambda _: outcome(1.0) if len(cases.ran) <= 9 else Failure(status="failed", reason="made up")
    result = sweep(GRID, tmp_path, limits=Limits(rounds=1))
    assert len(result.records) > 20
    assert [record.status for record in latest(result.records)] == ["measured"] * 9
    assert len(flags(result.records)) == 2, "and stays flagged"


def test_a_wall_clock_that_jumps_changes_nothing(cases, tmp_path, monkeypatch, always_due):
    """Order on file and monotonic time decide; the wall clock is told and never used."""
    jumps = itertools.cycle([0.0, 4e8, -4e8])

    class Jumping(filing.datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(1e9 + next(jumps), tz)

    monkeypatch.setattr(filing.datetime, "datetime", Jumping)
    result = sweep(GRID, tmp_path, limits=Limits(rounds=3, sweep_seconds=60.0))
    assert result.run == 27
    assert flags(result.records) == []
    assert len({record.started_at for record in result.records}) > 1


def test_the_limit_on_memory_reaches_the_case(monkeypatch, tmp_path):
    told = []

    def fake(one, *, data_dir, limit_seconds, limit_bytes, memory):
        told.append((limit_seconds, limit_bytes))
        return outcome(1.0)

    monkeypatch.setattr(runner, "run_isolated", fake)
    sweep(GRID[:1], tmp_path, limits=Limits(rounds=1, case_seconds=7.0, case_bytes=123))
    assert set(told) == {(7.0, 123)}
