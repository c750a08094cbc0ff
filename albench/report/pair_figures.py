"""Pair figures: two runs side by side, drawn. How B's time is to A's case by case, and both against depth.

The first is as careful as the table beside it: a difference has a colour only where the comparison claims one, and of
two machines none has. The second has a panel a series, all on the same axes, so that A and B lie next to each other.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from albench.analysis.comparison import Judged
from albench.analysis.sampling import thinned
from albench.analysis.statistics import CONFIDENCE
from albench.report.axes import depth_axis, line, log_axis, plain_log_ticks
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.regimes import Point, Regime
from albench.report.side_by_side import SideBySide, regimes_of_both
from albench.report.style import FAINT, INK, MUTED, SMALL, STYLE, Look
from albench.report.words import counted, ends, number, percent

MOST_CASES = 24
"""Rows of the figure of ratios: a screen and a half; the table has more."""
MOST_WORKS = 3
"""Kinds of work that are drawn against depth."""
MOST_PANELS = 4
"""Series of one kind of work: AL's fastest and BP's in A and in B come first."""
ROW_INCHES, PANEL_INCHES = 0.42, 2.2
LETTERS, PANEL_LETTERS = 52, 30
"""Of a bold title in one line, and of a panel's."""
NARROWEST = 1.1
"""The scale of ratios reaches at least so far to either side: a difference of a per cent must not look like one."""

VERDICTS: dict[str, tuple[str, dict[str, Any]]] = {
    "slower": ("B slower", {"color": "#D55E00", "marker": "^"}),
    "faster": ("B faster", {"color": "#0072B2", "marker": "o"}),
    "can't tell": ("can't tell", {"color": MUTED, "marker": "D", "markerfacecolor": "white"}),
    "same": ("the same", {"color": INK, "marker": "s"}),
}
"""By verdict, what it is called and how its marks look."""
PLAIN = {"color": INK, "marker": "s"}
"""Marks where nothing is claimed."""
LOOKS = {"A": Look("#8a8f98", "s"), "B": Look("#0072B2", "o")}


def pair_drawings(both: SideBySide) -> list[Drawing]:
    """Return the figures of two runs; none where they have no timed case in common."""
    with rc_context(STYLE):
        ratios = [_ratio_drawing(both)] if both.pair.pairs else []
        return [*ratios, *_depth_drawings(both)]


def _ratio_drawing(both: SideBySide) -> Drawing:
    """Draw B's time over A's with its interval, a row a case, its name above the mark."""
    cases = _drawn(both)
    names, common = _short_names([case.pair.name for case in cases])
    figure = Figure(figsize=(WIDTH_INCHES, 2.0 + ROW_INCHES * len(cases)), layout="constrained")
    axes = figure.subplots()
    reaches = [end for case in cases for end in (case.ratio.estimate, case.ratio.low, case.ratio.high)]
    low, high = min(1 / NARROWEST, *reaches) / 1.03, max(NARROWEST, *reaches) * 1.03
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    plain_log_ticks(axes.xaxis, low, high)
    if both.comparable:
        bound = 1 + both.comparison.noise
        axes.axvspan(1 / bound, bound, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(1.0, color=MUTED, linewidth=1.2, zorder=0.5)
    for row, (case, name) in enumerate(zip(cases, names, strict=True)):
        _row(axes, row, case, name, VERDICTS[case.verdict][1] if both.comparable else PLAIN)
    axes.set_ylim(len(cases) - 0.4, -0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("time in B over time in A")
    title = "Time in B over time in A" + (f": {common}" if common else "")
    figure.suptitle(textwrap.fill(title, LETTERS), x=0.02, ha="left", fontsize=12, fontweight="bold")
    if both.comparable:
        shown = [VERDICTS[verdict] for verdict in VERDICTS if any(case.verdict == verdict for case in cases)]
        handles = [Line2D([], [], linestyle="none", **look, label=label) for label, look in shown]
        figure.legend(handles=handles, loc="outside lower left", ncols=2)
    return drawing_of(
        figure,
        name="ratio-of-times",
        title="Time in B over time in A, case by case",
        alt="Time in B over time in A: " + "; ".join(_told(case, both) for case in cases) + ".",
        reading="Left of the line B took less time than A, right of it more. Bars are the intervals of the ratios, "
        f"{percent(CONFIDENCE)} or the widest that the rounds have; a mark without a bar was measured in one round "
        "each, of which there is no interval."
        + (
            f" Grey: within the noise threshold of {percent(both.comparison.noise)}. Colours are the verdicts of the "
            "table; hollow: it cannot be told."
            if both.comparable
            else " A and B ran on different machines: a ratio says how these compare on such work."
        ),
        limits="It does not show why: for that, see first what differs around the runs."
        + ("" if both.comparable else " Nor does it show that anything became faster or slower.")
        + _left_out(len(cases), both),
        work=None,
    )


def _drawn(both: SideBySide) -> list[Judged]:
    """Return the cases that are drawn: those with the largest changes, or of two machines some, evenly spread."""
    cases = both.comparison.cases
    if both.comparable:
        changed = ("slower", "faster")
        largest = sorted(cases, key=lambda one: (one.verdict not in changed, -abs(math.log(one.ratio.estimate))))
        kept = {one.pair.key for one in largest[:MOST_CASES]}
        return [one for one in cases if one.pair.key in kept]
    judged = {case.pair.key: case for case in cases}
    pairs = both.pair.pairs
    return [judged[pairs[place].key] for place in thinned(range(len(pairs)), MOST_CASES)]


def _left_out(drawn: int, both: SideBySide) -> str:
    count = len(both.pair.pairs)
    if drawn == count:
        return ""
    which = ", those with the largest changes" if both.comparable else ""
    return f" Drawn are {drawn} of {counted(count, 'case')}{which}; the table and the records have more."


def _short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """Return names without what is the same in all of several, and that."""
    parts = [name.split(", ") for name in names]
    # The first part is who ran, and stays.
    common = [part for part in parts[0][1:] if all(part in other[1:] for other in parts)] if len(names) > 1 else []
    short = [", ".join([own[0], *[part for part in own[1:] if part not in common]]) for own in parts]
    return short, ", ".join(common)


def _row(axes: Axes, row: int, case: Judged, name: str, look: dict[str, Any]) -> None:
    """Draw a mark with its interval, and the name above it."""
    ratio = case.ratio
    reach = [[ratio.estimate - ratio.low], [ratio.high - ratio.estimate]] if ratio.confidence else None
    axes.errorbar([ratio.estimate], [row + 0.18], xerr=reach, capsize=2.5, elinewidth=1.1, linestyle="none", **look)
    axes.text(
        0.0, row - 0.2, name, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL,
        bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
    )  # fmt: skip


def _told(case: Judged, both: SideBySide) -> str:
    words = f"{case.pair.name} {number(case.ratio.estimate)} {ends(case.ratio)}".rstrip()
    return f"{words}, {VERDICTS[case.verdict][0]}" if both.comparable else words


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One series in both runs."""

    name: str
    points: dict[int, tuple[Point, Point]]
    """By ℓ, A's and B's point over the same mini-batches."""


def _depth_drawings(both: SideBySide) -> list[Drawing]:
    """Draw time against depth of each kind of work of which both runs swept the depth of a series."""
    found = [(title, panels) for title, first, second in regimes_of_both(both) if (panels := _panels(first, second))]
    shown = [found[place] for place in thinned(range(len(found)), MOST_WORKS)]
    more = f" Drawn for {len(shown)} of {len(found)} kinds of work." if len(shown) < len(found) else ""
    return [_depth_drawing(place, title, panels, more) for place, (title, panels) in enumerate(shown, 1)]


def _panels(first: Regime, second: Regime) -> list[_Panel]:
    """Return the series that both swept over depth, the telling ones where there are many."""
    others = {series.name: series for series in second.series}
    panels = {}
    for series in first.series:
        points = {}
        for depth in series.depths if series.name in others else ():
            one, other = (
                {point.minibatches: point for point in run.points if point.hidden_layers == depth}
                for run in (series, others[series.name])
            )
            if shared := one.keys() & other.keys():
                length = first.minibatches if first.minibatches in shared else max(shared)
                points[depth] = (one[length], other[length])
        if len(points) > 1:
            panels[series.name] = _Panel(name=series.name, points=points)
    telling = [
        fastest.name
        for method in ("al", "bp")
        for run in (first, second)
        if (fastest := run.fastest(method, max((d for s in run.of_method(method) for d in s.depths), default=0)))
    ]
    kept = [name for name in dict.fromkeys([*telling, *panels]) if name in panels][:MOST_PANELS]
    return [panel for name, panel in panels.items() if name in kept]


def _depth_drawing(place: int, title: str, panels: Sequence[_Panel], more: str) -> Drawing:
    """Draw milliseconds per mini-batch against ℓ, a panel a series, A and B in each."""
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTH_INCHES, 1.3 + (PANEL_INCHES if rows > 1 else 3.0) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    depths = sorted({depth for panel in panels for depth in panel.points})
    for axes, panel in zip(grid.flat, panels, strict=False):
        for side, look in enumerate(LOOKS.values()):
            line(axes, list(panel.points), [pair[side].milliseconds for pair in panel.points.values()], look)
        axes.set_title(textwrap.fill(panel.name, PANEL_LETTERS), fontsize=SMALL)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for index, axes in enumerate(grid.flat):
        depth_axis(axes, depths)
        log_axis(axes, "ms per mini-batch")
        axes.label_outer()
        if index < len(panels) <= index + columns:  # nothing below it
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("hidden layers ℓ")
    figure.suptitle(
        textwrap.fill(f"Time against depth in A and in B, {title}", LETTERS),
        x=0.02, ha="left", fontsize=12, fontweight="bold",
    )  # fmt: skip
    handles = [Line2D([], [], **(look.line | look.marks), label=name) for name, look in LOOKS.items()]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    lengths = sorted({point.minibatches for panel in panels for pair in panel.points.values() for point in pair})
    counts = ", ".join(map(str, lengths))
    return drawing_of(
        figure,
        name=f"{place}-time-against-depth",
        title=f"Time against depth in A and in B, {title}",
        alt="Milliseconds per mini-batch against hidden layers, both axes logarithmic: "
        + "; ".join(map(_panel_told, panels))
        + ".",
        reading="Where the two lines of a panel lie on each other, both runs took as long; the distance between them "
        "is the factor. All panels have the same axes. Bars are the intervals of the medians.",
        limits="It does not show whether a difference is more than chance: the verdicts of the table do. Medians over "
        f"N = {counts} mini-batches, the same in A and in B.{more}",
        work=None,
    )


def _panel_told(panel: _Panel) -> str:
    first, *_, last = sorted(panel.points)
    told = [
        f"{name} {number(panel.points[first][side].milliseconds.estimate)} ms at ℓ = {first} to "
        f"{number(panel.points[last][side].milliseconds.estimate)} ms at ℓ = {last}"
        for side, name in enumerate(LOOKS)
    ]
    return f"{panel.name}: {' and '.join(told)}"
