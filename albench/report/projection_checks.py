"""Projection checks: how far a projection is from the truth, wherever the records hold both.

Exactly what was measured is projected: the same network, mini-batches, microbatches and lanes, from times on fewer
lanes, in most records one. Only lanes that are what a projection takes them for are compared (`has_lanes_of_its_own`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from albench.analysis.link import Link
from albench.analysis.projection import TURNS, on_lanes, stages_on_lanes
from albench.analysis.statistics import Interval
from albench.harness.records import Record
from albench.report.grouping import by_series, spread
from albench.report.projection_sources import Sources, has_lanes_of_its_own, runs_tasks
from albench.report.regimes import Work

ITEM_BYTES = {"float32": 4, "float64": 8}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One case that was measured, and what is projected for it."""

    series: str
    method: str
    engine: str
    hidden_layers: int
    minibatches: int
    lanes: int
    microbatches: int | None
    measured: Interval
    """Seconds of all mini-batches."""
    rounds: int
    projected_seconds: float

    @property
    def error(self) -> float:
        """Projected over measured, less 1: below 0 reality is slower."""
        return self.projected_seconds / self.measured.estimate - 1


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far the projections of one method are from what was measured."""

    method: str
    cases: int
    median_error: float
    """Of the errors without their signs."""
    worst_error: float
    """With its sign."""


def deviations_of(checks: Sequence[Check]) -> list[Deviation]:
    """Return how far off each method's projections are, in the order of the checks."""
    errors: dict[str, list[float]] = defaultdict(list)
    for check in checks:
        errors[check.method].append(check.error)
    return [
        Deviation(
            method=method, cases=len(found), median_error=median(map(abs, found)), worst_error=max(found, key=abs)
        )
        for method, found in errors.items()
    ]


def handed_on_bytes(work: Work) -> float:
    """Return the bytes that a lane of AL hands on: features and target of B rows, or less with few distinct targets."""
    return 2 * work.batch_size * work.width * ITEM_BYTES[work.precision]


def row_bytes(work: Work, microbatches: int) -> float:
    """Return the bytes that a pipeline of BP hands on of one microbatch, for each unit of a layer."""
    return work.batch_size // microbatches * ITEM_BYTES[work.precision]


def checks_of(sources: Sources, link: Link) -> list[Check]:
    """Return the longest run of each measured case on lanes of its own, and what is projected for it."""
    checks = []
    for name, group in by_series(sources.records).items():
        depths: dict[int, list[Record]] = defaultdict(list)
        for record in group:
            if has_lanes_of_its_own(record):
                depths[record.scenario.hidden_layers].append(record)
        for _, rounds in sorted(depths.items()):
            longest = max(record.scenario.minibatches for record in rounds)
            rounds = [record for record in rounds if record.scenario.minibatches == longest]
            one = rounds[-1]
            projected = _projected_seconds(sources, one, link)
            if projected is not None:
                m = one.scenario.microbatches if one.scenario.method in TURNS else None
                checks.append(
                    Check(
                        series=name,
                        method=one.scenario.method,
                        engine=one.scenario.engine,
                        hidden_layers=one.scenario.hidden_layers,
                        minibatches=longest,
                        lanes=one.lanes,
                        microbatches=m,
                        measured=spread([record.seconds or 0.0 for record in rounds]),
                        rounds=len(rounds),
                        projected_seconds=projected,
                    )
                )
    return checks


def _projected_seconds(sources: Sources, record: Record, link: Link) -> float | None:
    """Return what is projected for the case of a record; None where nothing is, or where it is its own source."""
    scenario = record.scenario
    depth = scenario.hidden_layers
    if runs_tasks(record):
        tasks = sources.tasks_at(depth, below=record.lanes)
        if tasks is None or (record.lanes == 1 and tasks.is_mean):
            return None
        return on_lanes(
            tasks.seconds,
            scenario.minibatches,
            record.lanes,
            link=link,
            handed_on_bytes=handed_on_bytes(sources.place.work),
        ).seconds
    if scenario.method not in TURNS or record.lanes == 1:
        return None
    found = sources.microbatches(scenario.method, scenario.microbatches, depth, below=record.lanes)
    if found is None:
        return None
    return stages_on_lanes(
        TURNS[scenario.method](record.lanes, scenario.microbatches),
        sources.layers(depth),
        scenario.minibatches,
        minibatch_seconds=found.seconds,
        row_bytes=row_bytes(sources.place.work, scenario.microbatches),
        link=link,
    ).seconds
