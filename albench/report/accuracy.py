"""Accuracy against depth: whether what was fast also learnt.

Flat time at ℓ = 64 is worth nothing if the network does not learn there. Scenarios that were trained to the end
(purpose "accuracy") are averaged over seeds; where a kind of work has none, the held-out accuracy after its longest
timed runs stands in, and is called what it is: an accuracy after so many mini-batches, not at the end of training.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from albench.analysis.statistics import Interval, mean_interval
from albench.harness.records import Record
from albench.methods import method_named
from albench.report.grouping import by_series, titles_of
from albench.report.regimes import Work

NOTABLE_GAP = 0.05
"""Gaps in accuracy above five points are said in words: beyond the seed-to-seed scatter of these small data sets, and
more than anyone would trade for speed without being told."""


@dataclass(frozen=True, kw_only=True)
class AccuracyPoint:
    """Held-out accuracy at one (ℓ, N) of a series."""

    hidden_layers: int
    minibatches: int
    instances: int
    mean: Interval
    """Mean over the seeds; with one seed there is no interval, and its ends are not numbers."""
    seeds: int
    learning_rates: tuple[float, ...]
    seconds: float
    """Mean wall seconds of the training."""
    effective_parameters: int | None = None
    """Parameters that its predictions use; None: the records do not say."""


@dataclass(frozen=True, kw_only=True)
class AccuracySeries:
    """Accuracy of one series over the depths."""

    name: str
    method: str
    engine: str
    points: tuple[AccuracyPoint, ...]

    @property
    def projected(self) -> bool:
        """Whether it was not measured: never."""
        return False

    @property
    def longest(self) -> list[AccuracyPoint]:
        """The longest run of each depth, shallow to deep: what figures and sentences use."""
        runs: dict[int, AccuracyPoint] = {}
        for point in self.points:  # sorted by N within a depth, so the last one stays
            runs[point.hidden_layers] = point
        return [runs[depth] for depth in sorted(runs)]

    def at(self, hidden_layers: int) -> AccuracyPoint | None:
        """Return the longest run at a depth."""
        return next((point for point in self.longest if point.hidden_layers == hidden_layers), None)

    @property
    def best(self) -> AccuracyPoint:
        """The depth that learns best."""
        return max(self.longest, key=lambda point: point.mean.estimate)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy against depth on one kind of work."""

    work: Work
    title: str
    trained_to_the_end: bool
    """False: these are accuracies after timed runs, which stop after a few mini-batches."""
    series: tuple[AccuracySeries, ...]

    @property
    def depths(self) -> int:
        """How many depths have an accuracy."""
        return len({point.hidden_layers for series in self.series for point in series.points})

    def of_method(self, method: str) -> list[AccuracySeries]:
        """The series of one method."""
        return [series for series in self.series if series.method == method]

    def ranked_at(self, method: str, hidden_layers: int) -> list[AccuracyPoint]:
        """Return the point of each series of `method` at a depth, the best first."""
        points = [point for series in self.of_method(method) if (point := series.at(hidden_layers)) is not None]
        return sorted(points, key=lambda point: point.mean.estimate, reverse=True)

    def best_at(self, method: str, hidden_layers: int) -> AccuracyPoint | None:
        """Return the best point that any series of `method` reached at a depth."""
        return next(iter(self.ranked_at(method, hidden_layers)), None)


@dataclass(frozen=True, kw_only=True)
class DepthGap:
    """How the deepest networks of AL learnt, beside AL's best depth and BP's same depth."""

    deepest: AccuracyPoint
    """AL's best series there."""
    worst: AccuracyPoint
    """AL's worst series there: another learning rate, or another engine."""
    settings: int
    """How many series AL has there."""
    best: AccuracyPoint
    bp: AccuracyPoint | None

    @property
    def below_best(self) -> float:
        """Points, as a share, that the deepest network is under the best depth."""
        return self.best.mean.estimate - self.deepest.mean.estimate

    @property
    def below_bp(self) -> float:
        """Points, as a share, that the deepest network is under BP at the same depth; 0 without BP."""
        return self.bp.mean.estimate - self.deepest.mean.estimate if self.bp else 0.0

    @property
    def hangs_on_settings(self) -> bool:
        """Whether the deepest network learns notably worse in another of AL's series."""
        return self.deepest.mean.estimate - self.worst.mean.estimate > NOTABLE_GAP

    @property
    def notable(self) -> bool:
        """Whether the page has to say that deep AL learns badly."""
        return max(self.below_best, self.below_bp) > NOTABLE_GAP


def depth_gap(accuracy: Accuracy) -> DepthGap | None:
    """Return how AL's deepest networks learnt; None where AL has no accuracy."""
    depths = sorted({point.hidden_layers for series in accuracy.of_method("al") for point in series.points})
    points = [point for depth in depths if (point := accuracy.best_at("al", depth)) is not None]
    if not points:
        return None
    ranked = accuracy.ranked_at("al", points[-1].hidden_layers)
    return DepthGap(
        deepest=points[-1],
        worst=ranked[-1],
        settings=len(ranked),
        best=max(points, key=lambda point: point.mean.estimate),
        bp=accuracy.best_at("bp", points[-1].hidden_layers),
    )


def accuracies_of(trained: Sequence[Record], timed: Sequence[Record]) -> list[Accuracy]:
    """Group records with an accuracy by kind of work; timed runs stand in where nothing was trained to the end."""
    groups: dict[Work, tuple[bool, list[Record]]] = {}
    for to_the_end, records in ((True, trained), (False, timed)):
        fresh: dict[Work, list[Record]] = defaultdict(list)
        for record in records:
            work = Work.of(record.scenario)
            if record.accuracy is not None and work not in groups:
                fresh[work].append(record)
        groups |= {work: (to_the_end, found) for work, found in fresh.items()}
    works = sorted(groups, key=lambda work: work.order)
    titles = titles_of(works)
    return [
        Accuracy(work=work, title=titles[work], trained_to_the_end=groups[work][0], series=_series(groups[work][1]))
        for work in works
    ]


def _series(records: Sequence[Record]) -> tuple[AccuracySeries, ...]:
    """Return the accuracy series of records of one kind of work; a method with one engine goes by its title."""
    groups = by_series(records)
    methods = [group[0].scenario.method for group in groups.values()]
    return tuple(
        AccuracySeries(
            name=method_named(method).title if methods.count(method) == 1 else name,
            method=method,
            engine=group[0].scenario.engine,
            points=_points(group),
        )
        for (name, group), method in zip(groups.items(), methods, strict=True)
    )


def _points(records: Sequence[Record]) -> tuple[AccuracyPoint, ...]:
    """Average over the rounds of a seed first, then over seeds: a seed that ran twice counts once."""
    rows: dict[tuple[int, int], list[Record]] = defaultdict(list)
    for record in records:
        rows[record.scenario.hidden_layers, record.scenario.minibatches].append(record)
    points = []
    for (hidden_layers, minibatches), found in sorted(rows.items()):
        seeds: dict[int, list[float]] = defaultdict(list)
        for record in found:
            seeds[record.scenario.seed].append(record.accuracy or 0.0)
        means = [fmean(values) for values in seeds.values()]
        points.append(
            AccuracyPoint(
                hidden_layers=hidden_layers,
                minibatches=minibatches,
                instances=found[0].instances or found[0].scenario.instances,
                mean=_share_interval(means),
                seeds=len(seeds),
                learning_rates=tuple(sorted({record.scenario.learning_rate for record in found})),
                seconds=fmean(record.seconds or 0.0 for record in found),
                effective_parameters=found[-1].effective_parameters,
            )
        )
    return tuple(points)


def _share_interval(means: Sequence[float]) -> Interval:
    """Return the mean and its interval, cut where a share cannot go: Student's is wide for two or three seeds."""
    if len(means) < 2:
        return Interval(estimate=means[0], low=math.nan, high=math.nan)
    interval = mean_interval(means)
    return Interval(estimate=interval.estimate, low=max(interval.low, 0.0), high=min(interval.high, 1.0))
