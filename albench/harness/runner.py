"""Runner: works through a sweep, case by case, and files a record for each.

Scenarios are interleaved: a round runs every scenario once, in an order shuffled by a recorded seed, so that a slow
minute of the machine falls on all methods alike. Rounds go on until every scenario's median is known well enough, or
the rounds or the time are up; which of them it was is in the summary. What is on file already is not run again.

A case that fails, hangs or runs out of memory is a record, never the end of the sweep. After an out-of-memory the
deeper cases of the same line are skipped, and say so.
"""

from __future__ import annotations

import dataclasses
import datetime
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from albench.analysis.statistics import median_interval, relative_half_width
from albench.errors import UsageError
from albench.harness import environment
from albench.harness.isolation import run_isolated
from albench.harness.outcome import Failure, Outcome
from albench.harness.records import Record, RecordFile, Status
from albench.harness.scenario import Scenario
from albench.methods.cutting import PIPELINES


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a sweep stops."""

    rounds: int = 3
    """The most rounds; in each, every scenario runs once, in a fresh process."""
    relative_half_width: float = 0.02
    """A scenario is known well enough when half its median's interval is within this share of the median."""
    sweep_seconds: float | None = None
    """After this no case of a further round starts. The first round is always finished: half a grid is no grid."""
    case_seconds: float = 300.0
    """A case that is not done after this is ended and recorded as timed out."""

    def __post_init__(self) -> None:
        """Refuse limits that would run nothing."""
        if self.rounds < 1:
            raise UsageError(f"rounds is {self.rounds}: give a whole number of at least 1")
        for name in ("relative_half_width", "sweep_seconds", "case_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name.replace('_', ' ')} is {value}: give a number above 0")


class Progress(Protocol):
    """Who is told how a sweep goes."""

    def planned(self, estimated_seconds: float, cases: int) -> None:
        """So much work lies ahead."""

    def started(self, scenario: Scenario, number: int) -> None:
        """A case starts."""

    def finished(self, record: Record, estimated_seconds: float) -> None:
        """A case has its record."""


@dataclass
class Sweep:
    """What a sweep did."""

    records: list[Record] = field(default_factory=list)
    """All records of the sweep's scenarios, old and new."""
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
        """Records that hold a time."""
        return sum(record.status == "measured" for record in self.records)


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
) -> Sweep:
    """Measure `scenarios` into ``directory/records.jsonl`` and return what was done.

    Resumes: a (scenario, round) that is on file is not run again; `retry_failed` runs those again that failed.
    """
    if not scenarios:
        raise UsageError("there is no scenario to run: widen the filters")
    scenarios = list(dict.fromkeys(scenarios))
    surroundings = environment.describe()
    sweep = Sweep(order_seed=order_seed)
    started = time.monotonic()
    with RecordFile(directory) as file:
        keys = {scenario.key for scenario in scenarios}
        history = _History(record for record in file.existing if record.key in keys)
        sweep.records = history.all
        sweep.warnings = _differences(history.all, surroundings)
        plan = [(number, scenario) for number in range(limits.rounds) for scenario in _wanting(scenarios, number)]
        todo = [(n, s) for n, s in plan if not history.has(s, n, retry_failed)]
        sweep.resumed = len(plan) - len(todo)
        progress.planned(sum(estimated_seconds(s) for _, s in todo), len(todo))
        for number in range(limits.rounds):
            wanting = _wanting(scenarios, number)
            if number and all(history.known(s, limits.relative_half_width) for s in wanting):
                sweep.stopped_because = f"every median is known within {limits.relative_half_width:.0%}"
                break
            random.Random(f"{order_seed}/{number}").shuffle(wanting)
            for scenario in wanting:
                if history.has(scenario, number, retry_failed):
                    continue
                if number and history.known(scenario, limits.relative_half_width):
                    continue
                if number and limits.sweep_seconds and time.monotonic() - started > limits.sweep_seconds:
                    sweep.stopped_because = f"the time limit of {limits.sweep_seconds:g} s was reached"
                    return sweep
                progress.started(scenario, number)
                record = _run_case(scenario, number, history, limits, data_dir, suite, surroundings)
                file.append(record)
                history.add(record)
                sweep.run += 1
                progress.finished(record, estimated_seconds(scenario))
        else:
            sweep.stopped_because = f"all {limits.rounds} rounds are done"
    return sweep


def _wanting(scenarios: Iterable[Scenario], number: int) -> list[Scenario]:
    """Return the scenarios of a round: training to the end is done once, its accuracy does not vary from run to run."""
    return [scenario for scenario in scenarios if number == 0 or scenario.purpose == "time"]


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


class _History:
    """What is on file about a sweep's scenarios."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.all = list(records)

    def add(self, record: Record) -> None:
        self.all.append(record)

    def has(self, scenario: Scenario, number: int, retry_failed: bool) -> bool:
        """Whether a round of a scenario needs no further run."""
        return any(
            record.key == scenario.key and record.round == number and (record.status == "measured" or not retry_failed)
            for record in self.all
        )

    def known(self, scenario: Scenario, target: float) -> bool:
        """Whether a scenario's median time is known within `target`, or it cannot be measured at all."""
        mine = [record for record in self.all if record.key == scenario.key]
        seconds = [record.seconds for record in mine if record.seconds is not None]
        if not seconds:
            return bool(mine)
        return relative_half_width(median_interval(seconds)) <= target

    def out_of_memory_before(self, scenario: Scenario) -> Record | None:
        """Return the record of a shallower case of the same line that ran out of memory."""
        return next(
            (
                record
                for record in self.all
                if record.status == "out-of-memory"
                and _line(record.scenario) == _line(scenario)
                and record.scenario.hidden_layers < scenario.hidden_layers
            ),
            None,
        )


def _line(scenario: Scenario) -> dict[str, Any]:
    """Return what all depths of one line have in common; no scenario, for it may not be one at another depth."""
    own = ("hidden_layers", "minibatches", "seed", "purpose")
    return {name: value for name, value in dataclasses.asdict(scenario).items() if name not in own}


def _run_case(
    scenario: Scenario,
    number: int,
    history: _History,
    limits: Limits,
    data_dir: Path | None,
    suite: str,
    surroundings: dict[str, Any],
) -> Record:
    """Run one case and return its record."""
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def record(status: Status, **fields: Any) -> Record:
        return Record(
            key=scenario.key,
            scenario=scenario,
            round=number,
            status=status,
            started_at=started_at,
            environment=surroundings,
            suite=suite,
            instances=scenario.instances,
            **fields,
        )

    earlier = history.out_of_memory_before(scenario)
    if earlier is not None:
        depth = earlier.scenario.hidden_layers
        return record("skipped", reason=f"the same case with ℓ = {depth} ran out of memory")
    answer = run_isolated(scenario, data_dir=data_dir, limit_seconds=limits.case_seconds)
    if isinstance(answer, Failure):
        if answer.usage:
            raise UsageError(answer.reason)
        return record(answer.status, reason=answer.reason)
    return record("measured", **_fields(answer))


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__struct_fields__}


def estimated_seconds(scenario: Scenario) -> float:
    """Return a rough guess of a case's seconds, to weigh progress by; only its proportions matter.

    Per layer and mini-batch: a fixed price for launching (lower where a stack shares it), and arithmetic at about
    3·10¹⁰ operations a second, forward, backward and the optimizer's pass over the weights.
    """
    layers = scenario.hidden_layers
    stacked, one_by_one = {"fused": 2e-5, "graph": 2e-5}, {"eager": 5e-5, "compiled": 5e-5}
    launches = (stacked | one_by_one).get(scenario.engine, 2.5e-4) * layers + 4e-4
    arithmetic = layers * (6 * scenario.batch_size + 30) * scenario.width**2 / 3e10
    fills = scenario.method == "al" and scenario.engine in ("fused", "graph")
    ticks = scenario.minibatches + (layers // 2 if fills else 0)
    # The processes of a team must meet, and compiling is part of a case and not of its time.
    start = {"ranks": 1.0, "compiled": 20.0}.get(scenario.engine, 0.25)
    return start + ticks * (launches * scenario.microbatches + arithmetic / _overlap(scenario))


def _overlap(scenario: Scenario) -> float:
    """Return how many times as fast the arithmetic goes on all lanes of a method beside AL and BP, at its best."""
    lanes, microbatches = scenario.lanes, scenario.microbatches
    if scenario.method in PIPELINES:
        return lanes * microbatches / (microbatches + lanes - 1)
    return {"ddp": lanes, "al-ddp": scenario.replicas}.get(scenario.method, 1)
