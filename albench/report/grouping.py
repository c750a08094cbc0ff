"""Grouping: from a list of records to regimes, series, verdicts and projections.

Rounds of one point are pooled into a median; the verdict sees every round as a row of its own. A scenario option that
is varied at otherwise equal points (say, distinct targets on and off) splits a series in two, and each half says so in
its name: two things are never averaged into one.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from albench.analysis.complexity import judge
from albench.analysis.projection import pipeline_seconds
from albench.analysis.statistics import Interval, median_interval
from albench.harness.records import Record
from albench.methods import METHODS
from albench.report.regimes import Comparison, Point, ProjectionCheck, Regime, Series, Work, has_lanes

LAUNCH_BOUND_SHARE = 0.25
"""A regime in which an extra layer of BP reaches less than this share of the best regime's FLOP/s is called bound by
launches. Were arithmetic all there is, every regime would reach the same rate; three quarters of the time going
elsewhere is beyond what caches explain, and well clear of noise."""

OPTIONS: dict[str, Callable[[object], str]] = {
    "distinct_targets": lambda value: f"distinct targets {'auto' if value == 'auto' else 'on' if value else 'off'}",
    "initial_scale": lambda value: f"initial weights × {value:g}",
    "learning_rate": lambda value: f"learning rate {value:g}",
}
"""Scenario fields that neither the regime nor the series' name holds, and how a name says them when they are varied."""

ORDINARY = {"network": "mlp", "precision": "float32", "bridge": "flat"}
"""What goes without saying in a title; a page of CNNs alone would else not say so anywhere."""


def regimes_of(records: Iterable[Record]) -> list[Regime]:
    """Group measured records of time sweeps into regimes, small work first."""
    groups: dict[Work, list[Record]] = defaultdict(list)
    for record in records:
        groups[Work.of(record.scenario)].append(record)
    works = sorted(groups, key=lambda work: work.order)
    titles = titles_of(works)
    regimes = [_regime(work, titles[work], groups[work]) for work in works]
    return [dataclasses.replace(regime, rule=rule) for regime, rule in zip(regimes, _rules(regimes), strict=True)]


def titles_of(works: Sequence[Work]) -> dict[Work, str]:
    """Return a title for each work: width and batch, whatever is out of the ordinary, and what tells them apart."""

    def varies(name: str) -> bool:
        return len({getattr(work, name) for work in works}) > 1

    titles = {}
    for work in works:
        parts = [f"width {work.width}", f"batch {work.batch_size}"]
        parts += [
            str(getattr(work, name))
            for name in ("network", "dataset", "precision", "device")
            if varies(name) or (name in ORDINARY and getattr(work, name) != ORDINARY[name])
        ]
        if varies("bridge") or work.bridge != ORDINARY["bridge"]:
            parts.append(f"{work.bridge} bridges")
        if varies("bridge_width"):
            parts.append(f"bridges of {work.bridge_width} units" if work.bridge_width else "one-layer bridges")
        titles[work] = ", ".join(parts)
    return titles


def series_names(records: Sequence[Record]) -> dict[str, str]:
    """Return the series' name of each scenario key: options that are varied at equal points are spelt out."""
    scenarios = {record.scenario.key: record.scenario for record in records}  # once each, however many rounds it had
    series = {key: scenario.series for key, scenario in scenarios.items()}
    values: dict[tuple[object, ...], set[object]] = defaultdict(set)
    for key, scenario in scenarios.items():
        for option in OPTIONS:
            point = (series[key], option, scenario.hidden_layers, scenario.minibatches)
            values[point].add(getattr(scenario, option))
    varied = {(point[0], point[1]) for point, found in values.items() if len(found) > 1}
    names = {}
    for key, scenario in scenarios.items():
        spelt = [say(getattr(scenario, name)) for name, say in OPTIONS.items() if (series[key], name) in varied]
        names[key] = ", ".join([series[key], *spelt])
    return names


def series_order(record: Record) -> tuple[object, ...]:
    """Sort key of series: methods and engines as the program lists them, few lanes first."""
    scenario = record.scenario
    method = list(METHODS).index(scenario.method)
    engine = METHODS[scenario.method].engines.index(scenario.engine)
    lanes = (scenario.lane_kind, scenario.lane_sms or 0, scenario.lanes)
    return (method, engine, *lanes, scenario.replicas, scenario.microbatches)


def by_series(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group records of one regime by the name of their series, in the program's order."""
    names = series_names(records)
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (series_order(record), names[record.scenario.key])):
        groups[names[record.scenario.key]].append(record)
    return groups


def _regime(work: Work, title: str, records: Sequence[Record]) -> Regime:
    """Return the regime of records that all do the same work."""
    groups = by_series(records)
    series = tuple(_series(name, group) for name, group in groups.items())
    sources = {name: group for name, group in groups.items() if any(record.task_seconds for record in group)}
    projected = tuple(_projected(name, group) for name, group in sources.items())
    counts = Counter(point.minibatches for one in series for point in one.points)
    regime = Regime(
        work=work,
        title=title,
        series=series,
        projected=projected,
        minibatches=max(counts, key=lambda minibatches: (counts[minibatches], minibatches)),
        comparisons=(),
        checks=tuple(check for group in sources.values() for check in _checks(group, series)),
    )
    return dataclasses.replace(regime, comparisons=tuple(_comparisons(regime)))


def _points(records: Sequence[Record], seconds: Sequence[float]) -> tuple[Point, ...]:
    """Pool rounds into points, shallow to deep and few mini-batches first."""
    rows: dict[tuple[int, int], list[tuple[Record, float]]] = defaultdict(list)
    for record, value in zip(records, seconds, strict=True):
        rows[record.scenario.hidden_layers, record.scenario.minibatches].append((record, value))
    points = []
    for (hidden_layers, minibatches), pairs in sorted(rows.items()):
        last = pairs[-1][0]
        accuracies = [record.accuracy for record, _ in pairs if record.accuracy is not None]
        points.append(
            Point(
                hidden_layers=hidden_layers,
                minibatches=minibatches,
                instances=last.scenario.instances,
                seconds=spread([value for _, value in pairs]),
                rounds=len(pairs),
                lanes=last.lanes,
                accuracy=median(accuracies) if accuracies else None,
                accuracy_reason=last.accuracy_reason,
                effective_parameters=last.effective_parameters,
                affiliated_parameters=last.affiliated_parameters,
                peak_memory_bytes=last.peak_memory_bytes,
            )
        )
    return tuple(points)


def _series(name: str, records: Sequence[Record]) -> Series:
    """Return the measured series of records of one name."""
    seconds = [record.seconds or 0.0 for record in records]
    scenario = records[0].scenario
    lanes = [record.lanes for record in records] if has_lanes(scenario.method, scenario.engine) else None
    return Series(
        name=name,
        method=scenario.method,
        engine=scenario.engine,
        lanes=scenario.lanes,
        points=_points(records, seconds),
        verdict=judge(
            [record.scenario.instances for record in records],
            [record.scenario.hidden_layers for record in records],
            seconds,
            lanes,
        ),
    )


def _projected(name: str, records: Sequence[Record]) -> Series:
    """Return what the task times of `records` would give on one lane a component."""
    sources = [record for record in records if record.task_seconds]
    seconds = [pipeline_seconds(record.task_seconds or [], record.scenario.minibatches) for record in sources]
    scenario = sources[0].scenario
    return Series(
        name=f"{name} on ℓ/2 lanes (projected)",
        method=scenario.method,
        engine=scenario.engine,
        lanes=None,
        # A projection trained nothing: what its source learnt is the source's to show.
        points=tuple(
            dataclasses.replace(point, accuracy=None, accuracy_reason="projected: nothing was trained", lanes=lanes)
            for point in _points(sources, seconds)
            for lanes in [max(1, point.hidden_layers // 2)]
        ),
        verdict=judge(
            [record.scenario.instances for record in sources],
            [record.scenario.hidden_layers for record in sources],
            seconds,
        ),
        projected=True,
    )


def _checks(source: Sequence[Record], series: Sequence[Series]) -> list[ProjectionCheck]:
    """Project onto lanes that were measured too, so that the reader sees how far off a projection is."""
    tasks: dict[tuple[int, int], list[list[float]]] = defaultdict(list)
    for record in source:
        if record.task_seconds:
            tasks[record.scenario.hidden_layers, record.scenario.minibatches].append(record.task_seconds)
    checks = []
    for one in series:
        if one.method != "al" or not (one.engine == "serial" or one.has_lanes):
            continue
        for point in one.points:
            rounds = tasks.get((point.hidden_layers, point.minibatches), [])
            if rounds:
                projected = median(pipeline_seconds(task, point.minibatches, point.lanes) for task in rounds)
                checks.append(
                    ProjectionCheck(
                        hidden_layers=point.hidden_layers,
                        minibatches=point.minibatches,
                        series=one.name,
                        measured_seconds=point.seconds.estimate,
                        projected_seconds=projected,
                    )
                )
    return checks


def _comparisons(regime: Regime) -> list[Comparison]:
    """Compare AL's fastest engine with BP's fastest at each depth, on the longest run that both have."""
    comparisons = []
    for depth in regime.depths:
        both = [
            {
                point.minibatches
                for one in regime.of_method(method)
                for point in one.points
                if point.hidden_layers == depth
            }
            for method in ("al", "bp")
        ]
        shared = both[0] & both[1]
        if not shared:
            continue
        minibatches = regime.minibatches if regime.minibatches in shared else max(shared)
        (al, al_point), (bp, bp_point) = (
            min(
                ((one, point) for one in regime.of_method(method) if (point := one.at(depth, minibatches))),
                key=lambda pair: pair[1].seconds.estimate,
            )
            for method in ("al", "bp")
        )
        comparisons.append(
            Comparison(
                hidden_layers=depth,
                minibatches=minibatches,
                al=al.name,
                al_milliseconds=al_point.milliseconds,
                bp=bp.name,
                bp_milliseconds=bp_point.milliseconds,
            )
        )
    return comparisons


def _rules(regimes: Sequence[Regime]) -> list[str]:
    """Say per regime whether launches or arithmetic rule, where the regimes differ enough to tell."""
    rates = [regime.flops_per_second for regime in regimes]
    best = max((rate for rate in rates if rate is not None), default=0.0)
    rules = ["launches" if rate is not None and rate < LAUNCH_BOUND_SHARE * best else "" for rate in rates]
    if any(rules):
        rules = ["arithmetic" if rate == best else rule for rate, rule in zip(rates, rules, strict=True)]
    return rules


def spread(seconds: Sequence[float]) -> Interval:
    """Return the median and its interval; a single round has none, and must not look exact."""
    interval = median_interval(seconds)
    return interval if len(seconds) > 1 else dataclasses.replace(interval, low=math.nan, high=math.nan)
