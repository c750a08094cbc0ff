"""Projection figures: speed over lanes, and projected against measured.

What is projected is dashed and hollow, what was measured is solid, in both.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from albench.methods import method_named
from albench.report.axes import legend_columns
from albench.report.drawing import Drawing, canvas, drawing_of
from albench.report.projection_checks import Check
from albench.report.projection_choices import Choice, choice_words, choices_of, fall_words, falls_of
from albench.report.projection_tables import deviation_sentence, heading, signed_percent
from albench.report.projections import Projection
from albench.report.style import MUTED, SMALL, STYLE, Look
from albench.report.words import counted, number, times

LOOKS = {
    "al": Look("#0072B2", "o", projected=True),
    "gpipe": Look("#D55E00", "^", projected=True),
    "1f1b": Look("#009E73", "D", projected=True),
    "interleaved-1f1b": Look("#E69F00", "v", projected=True),
    "bp": Look("#1f2328", "s", projected=True),
}
DOTS: dict[str, Any] = {"color": MUTED, "linewidth": 1.1, "linestyle": ":", "zorder": 0.5}
"""Lines that are neither measured nor projected."""

LETTERS = 52
"""Of a bold title in one line."""
NUDGE = 1.05
"""How much further to the right each measured mark stands than the one before it, where both are on as many lanes."""


def projection_drawings(projections: Sequence[Projection]) -> list[Drawing]:
    """Return one figure of speed a projection, and one of errors where anything was measured on lanes."""
    drawings = []
    with rc_context(STYLE):
        for place, projection in enumerate(projections, 1):
            drawings.append(_speed_drawing(projection, f"projection-{place}"))
            if projection.checks:
                drawings.append(_check_drawing(projection, f"projection-{place}-check"))
    return drawings


def _speed_drawing(projection: Projection, name: str) -> Drawing:
    """Draw speed over lanes: of each method the best M on each number of lanes."""
    figure, axes = canvas(4.9)
    lanes = sorted({k for curve in projection.curves for k in curve.points})
    axes.plot([1, lanes[-1]], [1, lanes[-1]], **DOTS)
    told = []
    for method in projection.methods:
        choices = choices_of(projection, method)
        look = LOOKS[method]
        if method == "bp":
            axes.axhline(1.0, **(look.line | {"zorder": 1}))
        else:
            places = [one.lanes for one in choices], [one.speed for one in choices]
            axes.plot(*places, markeredgewidth=1.5, **(look.marks | look.line))
            _label_falls(axes, method, falls_of(choices))
        last = choices[-1]
        at_most = "at most " if _is_bound(projection, method) else ""
        cut = f", M = {last.microbatches}" if last.microbatches else ""
        told.append(f"{method_named(method).title} {at_most}{times(last.speed)} on {counted(last.lanes, 'lane')}{cut}")
    chosen = [words for method in projection.methods if (words := choice_words(projection, method))]
    measured = _draw_measured(axes, projection)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, max(1, len(f"{value:.0f}")))))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if lanes[-1] <= 128 else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: times(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("lanes K")
    axes.set_ylabel(f"times as fast as {'BP ' if 'bp' in projection.methods else ''}on one lane")
    _title(figure, f"PROJECTED speed on more lanes, {heading(projection)}")
    handles = [
        Line2D([], [], markeredgewidth=1.5, **_legend(method), label=_name(projection, method))
        for method in projection.methods
    ]
    handles.append(Line2D([], [], **DOTS, label="K times as fast"))
    if measured:
        handles.append(Line2D([], [], linestyle="none", marker="o", color=MUTED, label="solid: measured"))
    figure.legend(handles=handles, loc="outside lower left", ncols=legend_columns(handles))
    more = "".join(f" {words}" for method in projection.methods for words in fall_words(projection, method))
    if measured:
        more += " Solid marks were measured, with the interval of the median; they stand a little to the right."
    if any(curve.is_bound for curve in projection.curves):
        more += " Curves marked as at most take small matrix products for as efficient as large ones."
    reference = "BP on one" if "bp" in projection.methods else "one alone"
    choice = larger = ""
    if projection.has_pipelines:
        choice = (
            " A pipeline of BP shows its best M, of those that were measured or asked for; the table has it for every "
            "mark."
        )
        larger = (
            "; and on many lanes a pipeline of BP would be given larger mini-batches, cut into more microbatches, than "
            "were measured"
        )
    return drawing_of(
        figure,
        name=name,
        title=f"Projected speed on more lanes, {heading(projection)}",
        alt=" ".join([f"Projected, times as fast as {projection.reference}: {'; '.join(told)}.", *chosen]),
        reading="Dashed and hollow is projected: measured times, replayed on more lanes. Higher is faster; on the "
        f"dotted line K lanes are K times as fast as {reference}.{choice}{more}",
        limits="It does not show accuracy: AL learns by other objectives than the rest. It takes lanes for equally "
        f"fast however many there are, which no real machine's are{larger}.",
        work=projection.work,
    )


def _title(figure: Figure, text: str) -> None:
    """Put a title over the figure, in lines that fit."""
    figure.suptitle(textwrap.fill(text, LETTERS), x=0.02, ha="left", fontsize=12, fontweight="bold")


def _is_bound(projection: Projection, method: str) -> bool:
    return any(curve.is_bound for curve in projection.curves if curve.method == method)


def _name(projection: Projection, method: str) -> str:
    return f"{method_named(method).title}, projected{', at most' if _is_bound(projection, method) else ''}"


def _legend(method: str) -> dict[str, Any]:
    look = LOOKS[method]
    return look.line | (look.marks if method != "bp" else {})


def _label_falls(axes: Axes, method: str, falls: Sequence[tuple[Choice, Choice]]) -> None:
    """Write M beside both ends of a fall that another M makes."""
    for fewer, more in falls:
        if fewer.microbatches == more.microbatches:
            continue
        for one, place, align in ((fewer, 7, "bottom"), (more, -7, "top")):
            axes.annotate(
                f"M = {one.microbatches}", (one.lanes, one.speed), xytext=(0, place), textcoords="offset points",
                ha="center", va=align, fontsize=SMALL, color=LOOKS[method].colour,
            )  # fmt: skip


def _draw_measured(axes: Axes, projection: Projection) -> bool:
    """Draw what was measured of the projected network: of each engine on so many lanes, its best M."""
    best: dict[tuple[str, str, int], Check] = {}
    for check in projection.shown:
        key = (check.method, check.engine, check.lanes)
        if key not in best or _seconds(check) < _seconds(best[key]):
            best[key] = check
    beside: Counter[int] = Counter()
    for check in best.values():
        beside[check.lanes] += 1
        place = check.lanes * NUDGE ** beside[check.lanes]
        scale = projection.reference_seconds * check.minibatches
        speed = scale / check.measured.estimate
        reach = [
            [_reach(speed - scale / check.measured.high)],
            [_reach(scale / check.measured.low - speed)],
        ]
        look = Look(LOOKS[check.method].colour, LOOKS[check.method].marker)
        axes.errorbar([place], [speed], yerr=reach, capsize=2.5, linestyle="none", zorder=3, **look.marks)
    return bool(best)


def _seconds(check: Check) -> float:
    return check.measured.estimate / check.minibatches


def _reach(length: float) -> float:
    """Return a bar's length; an interval that does not exist has none."""
    return max(length, 0.0) if math.isfinite(length) else 0.0


def _check_drawing(projection: Projection, name: str) -> Drawing:
    """Draw what is projected over what was measured, every case a hollow mark; on the line they are equal."""
    figure, axes = canvas(4.6)
    checks = projection.checks
    everything = [1e3 * s / c.minibatches for c in checks for s in (c.measured.estimate, c.projected_seconds)]
    ends = [min(everything) / 1.3, max(everything) * 1.3]
    axes.plot(ends, ends, **DOTS)
    for check in checks:
        axes.plot(
            [1e3 * _seconds(check)],
            [1e3 * check.projected_seconds / check.minibatches],
            linestyle="none",
            markeredgewidth=1.5,
            **LOOKS[check.method].marks,
        )
    worst = max(checks, key=lambda check: abs(check.error))
    axes.annotate(
        f"{worst.series}, ℓ = {worst.hidden_layers}: {signed_percent(worst.error)}",
        (1e3 * _seconds(worst), 1e3 * worst.projected_seconds / worst.minibatches),
        textcoords="offset points",
        xytext=(-8, -14 if worst.error < 0 else 8),
        ha="right",
        fontsize=SMALL,
    )
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("measured, ms a mini-batch")
    axes.set_ylabel("PROJECTED, ms a mini-batch")
    _title(figure, f"Projected against measured, {projection.title}")
    methods = dict.fromkeys(check.method for check in checks)
    handles = [
        Line2D([], [], linestyle="none", markeredgewidth=1.5, **LOOKS[m].marks, label=method_named(m).title)
        for m in methods
    ]
    handles.append(Line2D([], [], **DOTS, label="equal"))
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return drawing_of(
        figure,
        name=name,
        title=f"Projected against measured, {heading(projection)}",
        alt=deviation_sentence(checks),
        reading="Every mark is a case that was measured, at what is projected for it from times on fewer lanes. On the "
        "dotted line both are the same; below it lanes are slower than projected.",
        limits="It does not show more lanes than were measured: what goes wrong there only is not seen.",
        work=projection.work,
    )
