"""Runner: works through a sweep, case by case, and files a record for each.

Scenarios are interleaved: a round runs every scenario once, in an order shuffled by a recorded seed, so that a slow
minute of the machine falls on all methods alike. Rounds go on until every scenario's median is known well enough, or
the rounds or the time are up; which of them it was is kept (`albench.harness.sweep_log`). What is on file already is
not run again.

A case that fails, hangs or runs out of memory is a record, never the end of the sweep. After an out-of-memory the
larger cases of the same line are skipped, and say so. A control case runs through the sweep; what was measured while it
was off its pace is measured once more (`albench.harness.control`).
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from albench.errors import UsageError, one_line
from albench.harness import environment, sweep_log
from albench.harness.control import RERUN_SHARE, ControlClock, controls_of, flags, is_control, without_controls
from albench.harness.estimate import estimated_seconds
from albench.harness.filing import filed, heading
from albench.harness.history import History
from albench.harness.instruments import Instruments
from albench.harness.isolation import run_isolated
from albench.harness.outcome import Failure
from albench.harness.records import Record, RecordFile, is_measured
from albench.harness.scenario import LARGEST, TIMED, Scenario

REFUSALS = 3
"""So many cases that are refused before any is run end a sweep: a missing data directory would fail every one alike."""
NO_MEMORY = "taken in the first round, of the longest run, and not of controls"
MOST_ROUNDS = 1000
"""No median needs more, and a sweep's plan has to fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a sweep stops."""

    rounds: int = 6
    """The most rounds; in each, every scenario runs once, in a fresh process. Six times are the fewest whose extremes
    are an interval of 95 % for their median."""
    relative_half_width: float = 0.02
    """A scenario is known well enough when half its median's interval is within this share of the median."""
    sweep_seconds: float | None = None
    """After this no case of a further round starts. The first round is always finished: half a grid is no grid."""
    case_seconds: float = 300.0
    """A case that is not done after this is ended and recorded as timed out."""
    case_bytes: int | None = None
    """A case while which free memory falls by more than this is ended; None: most of what is free when it starts."""
    control: bool = True
    """Whether the control case runs through the sweep."""

    def __post_init__(self) -> None:
        """Refuse limits that would run nothing."""
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise UsageError(f"rounds is {self.rounds}: give a whole number of at least 1 and at most {MOST_ROUNDS}")
        for name in ("relative_half_width", "sweep_seconds", "case_seconds", "case_bytes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name.replace('_', ' ')} is {value}: give a number above 0")


class Progress(Protocol):
    """Who is told how a sweep goes."""

    def planned(self, estimated_seconds: float, cases: int) -> None:
        """So much work lies ahead."""

    def added(self, estimated_seconds: float, cases: int) -> None:
        """So much more work has come up."""

    def started(self, scenario: Scenario, number: int) -> None:
        """A case starts."""

    def finished(self, record: Record, estimated_seconds: float) -> None:
        """A case has its record."""


@dataclass
class Sweep:
    """What a sweep did."""

    records: list[Record] = field(default_factory=list)
    """All records of the sweep's scenarios and of the control, old and new, in the order of measuring."""
    run: int = 0
    """Cases run now."""
    resumed: int = 0
    """Cases that were on file already."""
    stopped_because: str = ""
    """Why there were no more rounds."""
    order_seed: int = 0
    """Seed of the shuffled order."""
    warnings: list[str] = field(default_factory=list)
    """What a person should know, such as records on file that were made elsewhere."""

    @property
    def measured(self) -> int:
        """Records that hold a time, controls aside."""
        return sum(map(is_measured, without_controls(self.records)))


def run_sweep(
    scenarios: Sequence[Scenario],
    directory: Path,
    *,
    suite: str,
    limits: Limits,
    progress: Progress,
    data_dir: Path | None = None,
    order_seed: int = 0,
    retry_failed: bool = False,
    telemetry: bool = True,
) -> Sweep:
    """Measure `scenarios` into ``directory/records.jsonl`` and return what was done.

    Resumes: a (scenario, round) that is on file is not run again; `retry_failed` runs those again that failed.
    `telemetry`: whether the machine is read while cases run, and its matrix-product peak measured before the first.
    """
    if not scenarios:
        raise UsageError("there is no scenario to run: widen the filters")
    if abs(order_seed) > LARGEST:
        raise UsageError(f"order seed is {order_seed}: give a whole number from {-LARGEST} to {LARGEST}")
    scenarios = list(dict.fromkeys(scenarios))
    surroundings = environment.describe()
    keys = {scenario.key for scenario in scenarios}
    with RecordFile(directory) as file, Instruments(scenarios, wanted=telemetry) as instruments:
        history = History(record for record in file.existing if record.key in keys or is_control(record))
        sweep = Sweep(order_seed=order_seed, records=history.all)
        sweep.warnings = _differences(history.all, surroundings)
        if retry_failed:
            history.try_again()
        runner = _Runner(
            scenarios=scenarios,
            history=history,
            file=file,
            sweep=sweep,
            limits=limits,
            progress=progress,
            data_dir=data_dir,
            suite=suite,
            surroundings=surroundings,
            retry_failed=retry_failed,
            instruments=instruments,
        )
        try:
            runner.run()
        except BaseException as error:
            sweep.stopped_because = one_line(error) if isinstance(error, Exception) else "it was interrupted"
            raise
        finally:
            if sweep.run:
                _log(directory, suite, sweep, seconds=time.monotonic() - runner.started)
    for reason, count in Counter(runner.refusals.values()).items():
        cases = f"{count} case{'s' if count > 1 else ''} could not be run as asked for and left no record"
        sweep.warnings.append(f"{cases}: {reason}")
    left = len(flags(sweep.records))
    if left:
        sweep.warnings.append(
            f"{left} measurement{'s were' if left > 1 else ' was'} taken while the machine was off its pace (the "
            "control case moved by more than 15 %): end what else is running on it and give a new --out"
        )
    return sweep


@dataclass(kw_only=True)
class _Runner:
    """One sweep, while it runs."""

    scenarios: list[Scenario]
    history: History
    file: RecordFile
    sweep: Sweep
    limits: Limits
    progress: Progress
    data_dir: Path | None
    suite: str
    surroundings: dict[str, Any]
    retry_failed: bool
    instruments: Instruments
    accepted: bool = False
    """Whether any case could be run as it was asked for."""
    refusals: dict[Scenario, str] = field(default_factory=dict)
    """Cases that were refused, and why: if all are, the input is to blame and not a case."""

    def __post_init__(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()
        self.accepted = self.sweep.measured > 0
        self.control = ControlClock(on_cuda=any(scenario.device == "cuda" for scenario in self.scenarios))
        self.longest: dict[Scenario, Scenario] = {}
        """The longest run of each network and way to train it, by the scenario with its N set to one."""
        for scenario in self.scenarios:
            place = _of_any_length(scenario)
            known = self.longest.get(place, scenario)
            self.longest[place] = max(known, scenario, key=lambda one: one.minibatches)

    def run(self) -> None:
        """Run round after round until one of the limits is reached."""
        plan = [(number, scenario) for number in range(self.limits.rounds) for scenario in self._wanting(number)]
        todo = [(number, scenario) for number, scenario in plan if not self._has(scenario, number)]
        self.sweep.resumed = len(plan) - len(todo)
        self.progress.planned(sum(estimated_seconds(scenario) for _, scenario in todo), len(todo))
        for number in range(self.limits.rounds):
            wanting = self._wanting(number)
            if not wanting:
                break  # nothing but training to the end, which is done once
            if number and all(map(self._known, wanting)):
                self.sweep.stopped_because = f"every median is known within {self.limits.relative_half_width:.0%}"
                return
            on_time = self._round(number)
            if self.refusals and not self.accepted:
                raise UsageError(next(iter(self.refusals.values())))
            if not on_time:
                self.sweep.stopped_because = f"the time limit of {self.limits.sweep_seconds:g} s was reached"
                return
        rounds = self.limits.rounds
        self.sweep.stopped_because = f"all {rounds} rounds are done" if rounds > 1 else "the only round is done"

    def _round(self, number: int) -> bool:
        """Run one round, and what was flagged in it once more; return False where time was up before its end."""
        wanting = self._wanting(number)
        random.Random(f"{self.sweep.order_seed}/{number}").shuffle(wanting)
        before = self.sweep.run
        for scenario in wanting:
            if self._has(scenario, number) or (number and self._known(scenario)):
                continue
            if number and self._time_is_up:
                return False
            self._case(scenario, number)
        if self.sweep.run == before and self.history.begun_after(number):
            return True  # all on file, and what was flagged then had its second attempt, or there were too many
        self._control(at_once=True)
        left = int(len(wanting) * RERUN_SHARE) - self.history.measured_again(number)  # some, where a sweep was killed
        again = self.history.flagged(number, most=max(left, 0))
        if again and not self._time_is_up:
            self.progress.added(sum(estimated_seconds(flag.record.scenario) for flag in again), len(again))
            for flag in again:
                if self._time_is_up:
                    break
                self._case(flag.record.scenario, number)
            self._control(at_once=True)
        return True

    @property
    def _time_is_up(self) -> bool:
        limit = self.limits.sweep_seconds
        return limit is not None and time.monotonic() - self.started > limit

    def _wanting(self, number: int) -> list[Scenario]:
        """Return the scenarios of a round: training to the end is done once, its accuracy is the same every time."""
        wanting = [scenario for scenario in self.scenarios if number == 0 or scenario.purpose in TIMED]
        return [scenario for scenario in wanting if scenario not in self.refusals]

    def _has(self, scenario: Scenario, number: int) -> bool:
        return self.history.has(scenario, number, self.retry_failed)

    def _known(self, scenario: Scenario) -> bool:
        return self.history.known(scenario, self.limits.relative_half_width)

    def _case(self, scenario: Scenario, number: int) -> None:
        """Run one case and file its record, after a control where one is due."""
        self._control()
        self.progress.started(scenario, number)
        record, refused = self._measured(scenario, number)
        self.progress.finished(record, estimated_seconds(scenario))
        if not refused:
            self.sweep.run += 1
            self.accepted = True
            self._keep(record)
            return
        # Not filed, or it would pass for done when what was amiss is mended and the sweep is run again.
        self.refusals[scenario] = record.reason
        if not self.accepted and len(self.refusals) == REFUSALS:
            raise UsageError(record.reason)

    def _control(self, *, at_once: bool = False) -> None:
        """Run the control where it is due; `at_once`: where anything was measured since."""
        since = bool(self.history.all) and not is_control(self.history.all[-1]) and self.sweep.run > 0
        if self.limits.control and (since if at_once else self.control.due):
            for control in controls_of(self.scenarios):
                number = sum(record.key == control.key for record in self.history.all)
                self._keep(self._measured(control, number)[0])
            self.control.ran()

    def _keep(self, record: Record) -> None:
        self.file.append(record)
        self.history.add(record)

    def _measured(self, scenario: Scenario, number: int) -> tuple[Record, bool]:
        """Run one case; return its record, and whether it was refused, as it cannot be run as it was asked for."""
        begun = heading(
            scenario,
            number,
            suite=self.suite,
            environment=self.surroundings,
            attempt=self.history.attempts(scenario, number),
            order_seed=self.sweep.order_seed,
        )
        earlier = self.history.out_of_memory_before(scenario)
        if earlier is not None:
            small = earlier.scenario
            sizes = f"ℓ = {small.hidden_layers}, width {small.width}, batch {small.batch_size}"
            skipped = Failure(status="skipped", reason=f"the same case with {sizes} ran out of memory")
            return filed(begun, skipped, observed={}), False
        # Peak memory varies neither from round to round nor with N, and its pass takes as long as some windows.
        memory = number == 0 and self.longest.get(_of_any_length(scenario)) == scenario
        self.instruments.begin(scenario)
        answer = run_isolated(
            scenario,
            data_dir=self.data_dir,
            limit_seconds=self.limits.case_seconds,
            limit_bytes=self.limits.case_bytes,
            memory=memory,
        )
        if isinstance(answer, Failure):
            return filed(begun, answer, observed={}), answer.usage
        observed = self.instruments.fields(scenario, answer)
        return filed(begun, answer, observed=observed, no_memory=NO_MEMORY), False


def _log(directory: Path, suite: str, sweep: Sweep, *, seconds: float) -> None:
    """Note beside the records why a run of the sweep ended."""
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    end = sweep_log.SweepEnd(
        suite=suite,
        order_seed=sweep.order_seed,
        started_at=began.isoformat(timespec="seconds"),
        seconds=seconds,
        cases=sweep.run,
        resumed=sweep.resumed,
        stopped_because=sweep.stopped_because,
    )
    sweep_log.append(directory, end)


def _of_any_length(scenario: Scenario) -> Scenario:
    """Return what is the same for runs of any length."""
    return dataclasses.replace(scenario, minibatches=1)


def _differences(records: Iterable[Record], surroundings: dict[str, Any]) -> list[str]:
    """Return what differs between the environment of records on file and this one: mixed times compare machines."""
    telling = ("cpu", "usable_cores", "python", "packages", "commit", "gpus", "variables")
    different = sorted(
        {name for record in records for name in telling if record.environment.get(name) != surroundings.get(name)}
    )
    if not different:
        return []
    return [
        f"records on file were made under other conditions ({', '.join(different)} differ): "
        "for times that can be compared give a new --out"
    ]
