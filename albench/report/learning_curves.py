"""Learning curves: what was reached by when, so that a report can say who is first at an accuracy.

A method that is fast a mini-batch and learns little from each is not fast, and one that learns well and slowly is not
either. So everyone runs on one clock, the seconds of training:

* a contender's curve is the median over its runs, which differ in their seeds;
* the levels are fixed accuracies, of which those are shown that anyone reached in most of its runs: the highest few,
  because low ones are reached by whoever takes the first step;
* a side is first for certain only where all of its runs were there before any run of the other was.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import NamedTuple

from albench.analysis.time_to_accuracy import CurvePoint, TimeToAccuracy, time_to_accuracy
from albench.harness.records import Record
from albench.methods import FOLDED
from albench.methods.cutting import PIPELINES
from albench.report.grouping import by_series, titles_of
from albench.report.regimes import Work
from albench.report.tables import NO_CELL, Cell, Row, Table
from albench.report.words import counted, listed, number, percent, times

LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995)
"""Accuracies at which clocks are read: ever closer, as the last points are the hardest."""
LEVELS_SHOWN = 5

SIDES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("AL", lambda method: method in FOLDED),
    ("BP", lambda method: method == "bp"),
    ("pipelines of BP", lambda method: method in PIPELINES),
)
"""Who is compared in words: each side by its first contender."""


class MedianPoint(NamedTuple):
    """What a contender's runs had reached at the end of an epoch."""

    seconds: float
    """Median over the runs."""
    accuracy: float
    """Median over the runs that were looked at."""
    worst: float
    best: float


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """One contender's runs."""

    name: str
    method: str
    runs: tuple[tuple[CurvePoint, ...], ...]
    """Each a curve of its own; at least one."""

    @property
    def projected(self) -> bool:
        """Whether it was not measured: never."""
        return False

    def median_curve(self) -> list[MedianPoint]:
        """Return the runs' medians at the end of each epoch that all of them have."""
        points = []
        for epoch in zip(*self.runs, strict=False):
            accuracies = [one.accuracy for one in epoch if one.accuracy is not None]
            if accuracies:
                seconds = median(one.seconds for one in epoch)
                points.append(MedianPoint(seconds, median(accuracies), min(accuracies), max(accuracies)))
        return points

    def time_to(self, accuracy: float) -> TimeToAccuracy:
        """Return when its runs reached an accuracy."""
        return time_to_accuracy(self.runs, accuracy)


@dataclass(frozen=True, kw_only=True)
class LearningCurves:
    """The curves of everyone who trained one network on one machine."""

    title: str
    curves: tuple[LearningCurve, ...]
    work: Work | None = None
    """The kind of work; None where it is told elsewhere."""

    @cached_property
    def levels(self) -> list[float]:
        """The accuracies that are shown: the highest that anyone reached in most of its runs, low to high."""
        found = [level for level in LEVELS if any(one.time_to(level).median_seconds is not None for one in self.curves)]
        return found[-LEVELS_SHOWN:]

    def first(self, level: float, belongs: Callable[[str], bool]) -> LearningCurve | None:
        """Return the contender of a side that was first at a level, by the median; None where none was."""
        there = [
            (seconds, place)
            for place, one in enumerate(self.curves)
            if belongs(one.method) and (seconds := one.time_to(level).median_seconds) is not None
        ]
        return self.curves[min(there)[1]] if there else None


def learning_curves_of(records: Sequence[Record]) -> list[LearningCurves]:
    """Group records that have a learning curve by kind of work and depth; of each contender the longest training."""
    groups: dict[tuple[Work, int], list[Record]] = defaultdict(list)
    for record in records:
        if record.learning_curve:
            groups[Work.of(record.scenario), record.scenario.hidden_layers].append(record)
    titles = titles_of(sorted({work for work, _ in groups}, key=lambda work: work.order))
    found = []
    for (work, depth), own in sorted(groups.items(), key=lambda item: (item[0][0].order, item[0][1])):
        curves = []
        for name, series in by_series(own).items():
            longest = max(record.scenario.minibatches for record in series)
            runs = [record.learning_curve or [] for record in series if record.scenario.minibatches == longest]
            curves.append(LearningCurve(name=name, method=series[0].scenario.method, runs=tuple(map(tuple, runs))))
        found.append(LearningCurves(title=f"ℓ = {depth}, {titles[work]}", curves=tuple(curves), work=work))
    return found


def time_to_accuracy_tables(found: Sequence[LearningCurves]) -> list[Table]:
    """Return the table of each set in which anyone reached a level."""
    return [table for one in found if (table := time_to_accuracy_table(one))]


def time_to_accuracy_sentences(found: Sequence[LearningCurves]) -> list[str]:
    """Return the sentence of each set in which AL and another reached a level."""
    return [words for one in found if (words := time_to_accuracy_sentence(one))]


def time_to_accuracy_table(found: LearningCurves) -> Table | None:
    """Return the seconds of training until each level, by contender; None where nobody reached any."""
    if not found.levels:
        return None
    several = any(len(one.runs) > 1 for one in found.curves)
    return Table(
        caption=f"Seconds of training until so much held out is predicted, {found.title}",
        columns=("method", *[_percent(level) for level in found.levels], "last"),
        rows=tuple(
            Row(cells=(Cell(one.name), *[_time_cell(one.time_to(level)) for level in found.levels], _last_cell(one)))
            for one in found.curves
        ),
        note=("Median over the seeds [first, last]; “in 2 of 5” runs where not all came there. " if several else "")
        + "Looked at after every epoch, off the clock; a pipeline is drained for it, which is on the clock. “Last”: "
        "the accuracy at the end, and when that was.",
    )


def time_to_accuracy_sentence(found: LearningCurves) -> str:
    """Say which side was first at the highest level that AL and another reached.

    Where there is no such level, who reached the highest one is said; where there is none or AL is not there, nothing.
    """
    for level in reversed(found.levels):
        clocks = {
            side: (one, one.time_to(level))
            for side, belongs in SIDES
            if (one := found.first(level, belongs)) is not None
        }
        if "AL" in clocks and len(clocks) > 1:
            break
    else:
        return _alone(found)
    order = sorted(clocks.values(), key=lambda pair: pair[1].median_seconds or math.inf)
    (first, sooner), (second, later) = order[:2]
    told = "; ".join(f"{one.name} after {number(clock.median_seconds or math.nan)} s" for one, clock in order)
    if _certain(sooner, later):
        ratio = (later.median_seconds or math.nan) / (sooner.median_seconds or math.nan)
        verdict = f"{first.name} is {times(ratio)} as fast there as {second.name}"
    elif min(len(first.runs), len(second.runs)) == 1:
        verdict = "of single runs, which cannot tell a difference from chance"
    else:
        verdict = "the runs of the first two overlap, so which is first is not certain"
    return f"{found.title}, {_percent(level)} held out: {told}; {verdict}.{_beyond(found, level)}"


def _alone(found: LearningCurves) -> str:
    """Say who reached the highest level where AL and others share none."""
    sides = {side for side, belongs in SIDES if any(belongs(one.method) for one in found.curves)}
    if not found.levels or "AL" not in sides or len(sides) < 2:
        return ""
    highest = found.levels[-1]
    first = found.first(highest, lambda _: True)
    assert first is not None, "a level is one that someone reached"
    seconds = number(first.time_to(highest).median_seconds or math.nan)
    return (
        f"{found.title}, {_percent(highest)} held out: reached by {listed(_there(found, highest))} only, first by "
        f"{first.name}, after {seconds} s."
    )


def _there(found: LearningCurves, level: float) -> list[str]:
    """Return the sides that reached a level."""
    return [side for side, belongs in SIDES if found.first(level, belongs) is not None]


def _beyond(found: LearningCurves, level: float) -> str:
    """Say who reached the highest level, where that is above the one at which AL is compared."""
    highest = found.levels[-1]
    if highest == level:
        return ""
    return f" {_percent(highest)}: reached by {listed(_there(found, highest))} only."


def _certain(first: TimeToAccuracy, second: TimeToAccuracy) -> bool:
    """Whether every run of the first was there before any of the second."""
    if min(len(first.seconds), len(second.seconds)) < 2:
        return False
    latest = max(math.inf if one is None else one for one in first.seconds)
    earliest = min(math.inf if one is None else one for one in second.seconds)
    return latest < earliest


def _time_cell(found: TimeToAccuracy) -> Cell:
    middle, reached = found.median_seconds, [one for one in found.seconds if one is not None]
    count = "" if len(reached) == len(found.seconds) else f"in {len(reached)} of {len(found.seconds)}"
    if middle is None:
        return Cell(NO_CELL, count if reached else "")
    ends = f"[{number(min(reached))}, {number(max(reached))}]" if len(found.seconds) > 1 else ""
    return Cell(number(middle), f"{ends} {count}".strip(), value=middle)


def _last_cell(curve: LearningCurve) -> Cell:
    points = curve.median_curve()
    if not points:
        return Cell(NO_CELL)
    last = points[-1]
    return Cell(percent(last.accuracy, 1), f"after {number(last.seconds)} s", value=last.accuracy)


def _percent(level: float) -> str:
    return percent(level, 0 if math.isclose(100 * level, round(100 * level)) else 1)


def runs_words(curves: Sequence[LearningCurve]) -> str:
    """Say how many runs stand behind the curves."""
    counts = sorted({len(one.runs) for one in curves})
    return counted(counts[0], "run") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} runs"
