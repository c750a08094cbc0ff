"""Lanes figure: how many times as fast everyone gets on K lanes, and what would be ideal.

Against K where several K were measured beside one lane; where there is one, in rows, for lines of two points each would
lie on top of each other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from albench.report.axes import bars, legend, log_axis, ticks
from albench.report.contest_figure import SIDES, reach
from albench.report.drawing import Drawing, canvas, drawing_of
from albench.report.lane_sweeps import LaneLine, LaneSweep
from albench.report.style import MUTED, SMALL, Look
from albench.report.words import listed, times

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h", "<", "*", ">", "p")
"""One a line: lines of one side share its colour."""
IDEAL: Any = {"color": MUTED, "linewidth": 1.2, "linestyle": (0, (5, 2))}
PIPELINE_IDEAL: Any = {"color": SIDES["pipeline"][1].colour, "linewidth": 1.1, "linestyle": ":"}
ROW_INCHES = 0.29


def lanes_drawing(sweep: LaneSweep, name: str) -> Drawing:
    """Draw the speed-up over one lane, a line or a row a method and engine, with the ideals."""
    against = len(sweep.lane_counts) > 2
    return drawing_of(
        _against_lanes(sweep) if against else _rows(sweep),
        name=name,
        title=f"Speed-up against lanes, {sweep.title}",
        alt="Times as fast as on one lane: " + "; ".join(map(_told, sweep.lines)) + ".",
        reading=(
            "A line along the dashed one makes full use of every lane; one that lies flat gains nothing by more. "
            if against
            else "The dashed line is full use of every lane, the solid one no gain over one lane. "
        )
        + ("Dotted: what a pipeline of BP could reach with its M. " if _has_pipelines(sweep) else "")
        + _measures(sweep),
        limits="It does not tell who is fastest, because one lane of AL and one of BP do not take equally long: the "
        f"standings and the tables do. {_hardware(sweep)}",
        work=sweep.work,
    )


def _rows(sweep: LaneSweep) -> Figure:
    """Draw a row a method and engine, most speed-up first, at the one number of lanes there is."""
    rows = sorted(sweep.lines, key=lambda one: -one.points[-1].speedup.estimate)
    lanes = sweep.lane_counts[-1]
    figure, axes = canvas(1.6 + ROW_INCHES * len(rows))
    for row, one in enumerate(rows):
        point, look = one.points[-1], SIDES[one.side][1]
        ends = [[reach(point.speedup.estimate - point.speedup.low)], [reach(_up(one))]]
        axes.errorbar(
            [point.speedup.estimate], [row], xerr=ends, capsize=2.5, elinewidth=1.1, linestyle="none", **look.marks
        )
        if point.ideal < lanes:
            axes.vlines(point.ideal, row - 0.4, row + 0.4, **PIPELINE_IDEAL)
    axes.axvline(lanes, **IDEAL)
    axes.axvline(1.0, color=MUTED, linewidth=1.0)
    axes.set_yticks(range(len(rows)), [one.name for one in rows], fontsize=SMALL)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    furthest = max(lanes, *[one.points[-1].speedup.estimate + reach(_up(one)) for one in rows])
    axes.set_xlim(0, 1.05 * furthest)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"times as fast on {_lanes_told(sweep, lanes)} as on one")
    _title(figure, f"Speed-up on {lanes} lanes, ℓ = {sweep.hidden_layers}")
    return figure


def _up(one: LaneLine) -> float:
    """Return how far a row's bar reaches up."""
    return one.points[-1].speedup.high - one.points[-1].speedup.estimate


def _against_lanes(sweep: LaneSweep) -> Figure:
    """Draw a line a method and engine against K."""
    figure, axes = canvas(5.4)
    looks = _looks(sweep)
    counts = sweep.lane_counts
    for one in sweep.lines:
        lanes, speedups = [point.lanes for point in one.points], [point.speedup for point in one.points]
        bars(axes, lanes, speedups, looks[one.name])
        start = [] if 1 in lanes else [1]  # whatever a line is measured against stands at one lane, and is 1
        axes.plot(
            [*start, *lanes], [*map(float, start), *[value.estimate for value in speedups]], **looks[one.name].line
        )
    axes.plot(counts, counts, **IDEAL)
    ideals = [Line2D([], [], **IDEAL, label="ideal: K times as fast")]
    if _pipeline_ideals(axes, sweep):
        ideals.append(Line2D([], [], **PIPELINE_IDEAL, label="ideal of a pipeline with its M"))
    axes.set_xscale("log", base=2)
    ticks(axes, counts)
    axes.set_xlabel(_lanes_told(sweep, None))
    log_axis(axes, "times as fast as on one lane")
    _title(figure, f"Speed-up against lanes, ℓ = {sweep.hidden_layers}")
    legend(figure, looks, ideals)
    return figure


def _title(figure: Figure, title: str) -> None:
    figure.suptitle(title, x=0.02, ha="left", fontsize=12, fontweight="bold")


def _lanes_told(sweep: LaneSweep, lanes: int | None) -> str:
    """Return what a lane is, for an axis."""
    start = "lanes K" if lanes is None else f"{lanes} lanes"
    return f"{start}, of {sweep.lane_sms} multiprocessors each" if sweep.lane_sms else start


def _looks(sweep: LaneSweep) -> dict[str, Look]:
    """Return the look of each line: the colour of its side, a marker of its own."""
    return {one.name: Look(SIDES[one.side][1].colour, MARKERS[i % len(MARKERS)]) for i, one in enumerate(sweep.lines)}


def _pipeline_ideals(axes: Axes, sweep: LaneSweep) -> bool:
    """Draw the ideal of each pipeline whose schedule allows less than K; return whether there is one."""
    drawn = set()
    for one in sweep.lines:
        points = ((1, 1.0), *((point.lanes, point.ideal) for point in one.points if point.lanes > 1))
        if any(ideal < lanes for lanes, ideal in points) and points not in drawn:
            drawn.add(points)
            axes.plot(*zip(*points, strict=True), **PIPELINE_IDEAL)
    return bool(drawn)


def _has_pipelines(sweep: LaneSweep) -> bool:
    """Whether a schedule allows less than K."""
    return any(point.ideal < point.lanes for one in sweep.lines for point in one.points)


def _told(one: LaneLine) -> str:
    points = [
        f"{times(point.speedup.estimate)} on {point.lanes}"
        + (f" (M = {point.microbatches}, ideal {times(point.ideal)})" if point.microbatches else "")
        for point in one.points
        if point.lanes > 1
    ]
    return f"{one.name}, {one.measure} being 1, {', '.join(points)}"


def _measures(sweep: LaneSweep) -> str:
    """Say what is 1, for each line."""
    measures = Counter(one.measure for one in sweep.lines)
    return (
        "What is 1: "
        + "; ".join(
            f"{measure} for {listed(one.name for one in sweep.lines if one.measure == measure)}" for measure in measures
        )
        + "."
    )


def _hardware(sweep: LaneSweep) -> str:
    """Say what more lanes are."""
    if sweep.lane_sms:
        return "The lanes share one card's memory and its bandwidth, which more of them do not add to."
    if sweep.work.device == "cuda":
        return "The lanes are streams of one GPU: more of them are no more hardware, so K is not in reach."
    return "The lanes are cores of one machine: they share its memory and its bandwidth."
