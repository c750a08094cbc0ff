"""Tabulation: which tables a report has, built from findings.

Rows over ℓ show one N per regime, the number of mini-batches that most of its points share; a cell that has to fall
back on another N says so. Everything that was measured, at every N, is in `every_point`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from albench.analysis.statistics import Interval
from albench.report.accuracy import Accuracy, AccuracyPoint
from albench.report.answers import speed_words
from albench.report.failures import Failure
from albench.report.findings import Findings
from albench.report.regimes import Point, Regime, Series, scaled
from albench.report.tables import NO_CELL, Cell, Row, Table, number_cell, shortened
from albench.report.words import MEBIBYTE, counted, ends, median_words, number, percent, times

FAILURES_SHOWN = 200
"""Failed scenarios that are listed, on a page as in a terminal: a screen or two more than anyone reads."""
VALUES_SHOWN = 6
"""Values of one environment fact that are spelt out: enough for versions, not for a load that moves all the time."""


def time_table(regime: Regime) -> Table:
    """Return milliseconds per mini-batch by depth and series."""
    return _by_depth(
        regime,
        caption=f"Milliseconds per mini-batch by hidden layers ℓ, {regime.title}",
        series=regime.everything,
        cell=lambda point: interval_cell(point.milliseconds),
        note=f"{median_words(_rounds_shown(regime), 'its 95 % interval')}, over N = {regime.minibatches} "
        "mini-batches from an empty to a drained pipeline, optimizer included.",
    )


def _rounds_shown(regime: Regime) -> list[int]:
    """Return the rounds of all points of a table over ℓ."""
    return [
        point.rounds
        for series in regime.everything
        for depth in regime.depths
        if (point := series.shown(depth, regime.minibatches))
    ]


def throughput_table(regime: Regime) -> Table:
    """Return training instances a second by depth and series."""
    return _by_depth(
        regime,
        caption=f"Training instances a second by hidden layers ℓ, {regime.title}",
        series=regime.everything,
        cell=lambda point: number_cell(point.samples_per_second),
        note=f"From the same medians, N = {regime.minibatches}.",
    )


def timed_accuracy_table(regime: Regime) -> Table | None:
    """Return held-out accuracy after the longest timed run at each depth; None where no run has one."""
    if not any(point.accuracy is not None for series in regime.series for point in series.points):
        return None
    rows = []
    for series in regime.series:
        cells = [Cell(series.name)]
        for depth in regime.depths:
            point = series.at(depth)
            found = point is not None and point.accuracy is not None
            cells.append(
                number_cell(point.accuracy, tenth_percent, f"N = {point.minibatches}")
                if point is not None and point.accuracy is not None and found
                else Cell(NO_CELL)
            )
        rows.append(Row(cells=tuple(cells)))
    return Table(
        caption=f"Held-out accuracy after the longest timed run, {regime.title}",
        columns=("series", *[f"ℓ = {depth}" for depth in regime.depths]),
        rows=tuple(rows),
        note="These runs stop after a few mini-batches: they show that the timed work was real training, not how well "
        "a network can learn.",
    )


def comparison_table(regime: Regime) -> Table | None:
    """Return AL's fastest engine against BP's fastest at each depth; None where there is no pair."""
    if not regime.comparisons:
        return None
    return Table(
        caption=f"AL's fastest engine against BP's fastest, the same mini-batches, {regime.title}",
        columns=("ℓ", "fastest AL", "its ms", "fastest BP", "its ms", "result"),
        rows=tuple(
            Row(
                cells=(
                    number_cell(one.hidden_layers, str),
                    Cell(one.al),
                    interval_cell(one.al_milliseconds),
                    Cell(one.bp),
                    interval_cell(one.bp_milliseconds),
                    Cell(
                        speed_words(one),
                        ends(one.speedup, 2),
                        tone="good" if one.speedup.low > 1 else "bad" if one.speedup.high < 1 else "open",
                        value=one.speedup.estimate,
                    ),
                )
            )
            for one in regime.comparisons
        ),
        note="Measured series only. The interval of the ratio pairs each side's best end with the other's worst."
        + (
            " Where a side was measured in one round there is none, and one round cannot tell a difference from chance."
            if any(math.isnan(one.speedup.low) for one in regime.comparisons)
            else ""
        ),
    )


def check_table(regime: Regime) -> Table | None:
    """Return how far projections are from measurements, where both exist."""
    if not regime.checks:
        return None
    names = list(dict.fromkeys(check.series for check in regime.checks))
    depths = sorted({check.hidden_layers for check in regime.checks})
    rows = []
    for name in names:
        cells = [Cell(name)]
        for depth in depths:
            found = [check for check in regime.checks if check.series == name and check.hidden_layers == depth]
            check = max(
                found, key=lambda check: (check.minibatches == regime.minibatches, check.minibatches), default=None
            )
            cells.append(number_cell(check.ratio, times, f"N = {check.minibatches}") if check else Cell(NO_CELL))
        rows.append(Row(cells=tuple(cells)))
    return Table(
        caption=f"Measured time over projected time on lanes that exist here, {regime.title}",
        columns=("series", *[f"ℓ = {depth}" for depth in depths]),
        rows=tuple(rows),
        note="1.0× would be a perfect projection; above it, reality was slower than the replay.",
    )


def parameter_table(regime: Regime) -> Table | None:
    """Return the parameters of both methods by depth; None where no record names them."""
    cells: dict[int, list[Cell]] = {}
    for depth in regime.depths:
        al, bp = regime.first_at("al", depth), regime.first_at("bp", depth)
        values = (
            al.effective_parameters if al else None,
            al.affiliated_parameters if al else None,
            bp.effective_parameters if bp else None,
        )
        if any(value is not None for value in values):
            cells[depth] = [number_cell(value, _whole) for value in values]
    if not cells:
        return None
    return Table(
        caption=f"Parameters, {regime.title}",
        columns=("ℓ", "AL, used to predict", "AL, for training only", "BP"),
        rows=tuple(Row(cells=(number_cell(depth, str), *found)) for depth, found in cells.items()),
    )


def accuracy_table(accuracy: Accuracy) -> Table:
    """Return accuracy by depth and series, with seeds, mini-batches and rates."""
    depths = sorted({point.hidden_layers for series in accuracy.series for point in series.points})
    rows = []
    for series in accuracy.series:
        rows.append(_accuracy_row(series.name, series.longest, depths))
        # Timed runs at every N are in `every_point`; only what was meant to be trained to the end is listed here.
        shorter = [point for point in series.points if accuracy.trained_to_the_end and point not in series.longest]
        for minibatches in sorted({point.minibatches for point in shorter}):
            found = [point for point in shorter if point.minibatches == minibatches]
            rows.append(_accuracy_row(f"{series.name}, stopped early", found, depths))
    kind = "after training to the end" if accuracy.trained_to_the_end else "after the longest timed runs only"
    return Table(
        caption=f"Held-out accuracy {kind}, {accuracy.title}",
        columns=("method", *[f"ℓ = {depth}" for depth in depths]),
        rows=tuple(rows),
        note="Mean over the seeds [95 % interval of the mean"
        + ("; of one seed there is none]." if any(p.seeds == 1 for s in accuracy.series for p in s.points) else "]."),
    )


def every_point(regime: Regime) -> Table:
    """Return every point of a regime, at every N."""
    return Table(
        caption=f"Every point, {regime.title}",
        columns=("series", "ℓ", "N", "n", "rounds", "lanes", "seconds", "instances/s", "accuracy", "peak memory, MiB"),
        rows=tuple(
            Row(
                cells=(
                    Cell(series.name),
                    number_cell(point.hidden_layers, str),
                    number_cell(point.minibatches, _whole),
                    number_cell(point.instances, _whole),
                    number_cell(point.rounds, str),
                    number_cell(point.lanes, str),
                    interval_cell(point.seconds),
                    number_cell(point.samples_per_second),
                    number_cell(point.accuracy, tenth_percent),
                    number_cell(point.peak_memory_bytes or None, _mebibytes),
                ),
                projected=series.projected,
            )
            for series in regime.everything
            for point in series.points
        ),
    )


def failure_table(failures: Sequence[Failure], *, caption: str = "Not measured") -> Table | None:
    """Return scenarios that could not be measured, and why, the first of many; None where there are none."""
    if not failures:
        return None
    table = Table(
        caption=caption,
        columns=("scenario", "what happened", "rounds", "why"),
        rows=tuple(
            Row(
                cells=(
                    Cell(one.scenario, one.purpose),
                    Cell(one.status),
                    number_cell(one.rounds, str),
                    Cell(one.reason),
                )
            )
            for one in failures[: FAILURES_SHOWN + 1]
        ),
        prose=True,
    )
    return shortened(table, FAILURES_SHOWN, of=len(failures), rest="the records have them all")


def environment_table(findings: Findings) -> Table | None:
    """Return the machine and the versions; a fact that is not the same in all records shows each value it had."""
    if not findings.environment:
        return None
    rows = []
    for fact in findings.environment:
        values = [value if len(fact.values) == 1 else f"{value} ({records})" for value, records in fact.values]
        more = f" and {len(values) - VALUES_SHOWN} more" if len(values) > VALUES_SHOWN else ""
        rows.append(Row(cells=(Cell(fact.name), Cell("; ".join(values[:VALUES_SHOWN]) + more))))
    return Table(
        caption="Environment",
        columns=("fact", "value"),
        rows=tuple(rows),
        note="Where records differ, each value with the number of records that have it.",
        prose=True,
    )


def _by_depth(
    regime: Regime, *, caption: str, series: tuple[Series, ...], cell: Callable[[Point], Cell], note: str
) -> Table:
    """Return a table with a row a series and a column a depth; another N than the regime's is said in its cell."""
    rows = []
    for one in series:
        cells = [Cell(one.name)]
        for depth in regime.depths:
            point = one.shown(depth, regime.minibatches)
            if point is None:
                cells.append(Cell(NO_CELL))
                continue
            found = cell(point)
            if point.minibatches != regime.minibatches:
                found = dataclasses.replace(found, detail=f"{found.detail} N = {point.minibatches}".strip())
            cells.append(found)
        rows.append(Row(cells=tuple(cells), projected=one.projected))
    return Table(
        caption=caption,
        columns=("series", *[f"ℓ = {depth}" for depth in regime.depths]),
        rows=tuple(rows),
        note=note,
    )


def interval_cell(interval: Interval | None, show: Callable[[float], str] = number) -> Cell:
    """Return an estimate with its interval as detail; a dash alone where there is no estimate."""
    if interval is None or math.isnan(interval.estimate):
        return Cell(NO_CELL)
    return number_cell(interval.estimate, show, ends(scaled(interval, 100.0) if show is percent else interval))


def _accuracy_row(name: str, points: Sequence[AccuracyPoint], depths: Sequence[int]) -> Row:
    """Return accuracies in percent by depth; how they were trained stands once where it is the same along the row."""
    recipes = {point.hidden_layers: _recipe(point, name) for point in points}
    same = len(set(recipes.values())) == 1
    cells = [Cell(name, recipes[points[0].hidden_layers] if same else "")]
    for depth in depths:
        point = next((one for one in points if one.hidden_layers == depth), None)
        if point is None:
            cells.append(Cell(NO_CELL))
            continue
        bounds = ends(scaled(point.mean, 100.0))
        detail = bounds if same else f"{bounds} {recipes[depth]}".strip()
        cells.append(number_cell(point.mean.estimate, tenth_percent, detail))
    return Row(cells=tuple(cells))


def _recipe(point: AccuracyPoint, name: str) -> str:
    """Return how a point was trained, without the rate where its series is named by that."""
    rates = ", ".join(f"{rate:g}" for rate in point.learning_rates)
    words = f"{counted(point.seeds, 'seed')}, N = {_whole(point.minibatches)}"
    return words if f"rate {rates}" in name else f"{words}, rate {rates}"


def _whole(value: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def tenth_percent(share: float) -> str:
    """Return a share as percent to a tenth."""
    return percent(share, 1)


def _mebibytes(size_bytes: float) -> str:
    """Return bytes as MiB."""
    return number(size_bytes / MEBIBYTE)
