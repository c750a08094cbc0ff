"""Figures: what was measured, drawn. One small figure a question, so that a phone can show it too.

* `depth`: milliseconds per mini-batch against ℓ; the question itself.
* `instances`: seconds against n at the deepest network; time has to be a line in n for any of this to mean something.
* `learning`: time above, accuracy below, the same axis ℓ; fast and useless must be seen together.
* `speedup`: AL's fastest over BP's fastest, with the line of equal speed, so that losses are as visible as wins.
* `standings` (in `contest_figure`): who trains most in a second on the same lanes, everyone who took part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from albench.analysis.statistics import Interval
from albench.methods import FOLDED
from albench.report.accuracy import Accuracy
from albench.report.answers import growth, heading
from albench.report.contest_figure import standings_drawing
from albench.report.drawing import WIDTH_INCHES, Drawing, canvas, drawing_of
from albench.report.findings import Findings
from albench.report.regimes import Regime, Series
from albench.report.style import MUTED, STYLE, Look, looks
from albench.report.words import listed, number, percent, times


def draw(findings: Findings) -> list[Drawing]:
    """Draw all figures that the findings have data for; a single depth is no figure against depth."""
    look = looks([series for regime in findings.sweeps for series in regime.everything])
    drawings: list[Drawing] = []
    with rc_context(STYLE):
        drawings += [
            standings_drawing(contest, f"standings-{i}")
            for i, contest in enumerate(findings.contests, 1)
            if len(contest.standings) > 1
        ]
        if any(len(regime.comparisons) > 1 for regime in findings.sweeps):
            drawings.append(_speedup(findings.sweeps))
        for i, regime in enumerate(findings.sweeps, 1):
            tag = f"{i}-width-{regime.work.width}-batch-{regime.work.batch_size}"
            if len(regime.depths) > 1:
                drawings.append(_depth(regime, look, tag))
            if depth := _instances_depth(regime):
                drawings.append(_instances(regime, depth, look, tag))
            if (accuracy := findings.accuracy_of(regime)) and accuracy.depths > 1:
                drawings.append(_learning(regime, accuracy, tag))
        deep = [accuracy for accuracy in findings.other_accuracies if accuracy.depths > 1]
        drawings += [_learning(None, accuracy, f"other-{i}") for i, accuracy in enumerate(deep, 1)]
    return drawings


def _depth(regime: Regime, look: dict[str, Look], tag: str) -> Drawing:
    """Draw milliseconds per mini-batch against ℓ, every series, with the fits and the knees of the lanes."""
    figure, axes = canvas(5.0)
    for series in regime.everything:
        points = [point for depth in series.depths if (point := series.shown(depth, regime.minibatches))]
        style = look[series.name]
        _bars(axes, [p.hidden_layers for p in points], [p.milliseconds for p in points], style)
        if len(series.depths) > 1:
            depths = np.geomspace(series.depths[0], series.depths[-1], 60)
            fitted = _fit(series, np.full(60, regime.minibatches * regime.work.batch_size, dtype=float), depths)
            axes.plot(depths, fitted * 1e3 / regime.minibatches, **style.line)
    _depth_axis(axes, regime.depths)
    _log_axis(axes, "milliseconds per mini-batch")
    knees = _knees(axes, regime)
    axes.set_title("Time per mini-batch against depth")
    _legend(figure, {series.name: look[series.name] for series in regime.everything})
    projected = " Hollow marks on dashed lines are projected, not measured." if regime.projected else ""
    knee = f" The dotted upright marks where {listed(knees)} full (ℓ/2 = K)." if knees else ""
    return drawing_of(
        figure,
        name=f"{tag}-time-against-depth",
        title=f"Time against depth, {heading(regime)}",
        alt=_growth_words(regime),
        reading="Read from left to right: a flat line means that more layers cost no more time; a line that doubles "
        f"with each step to the right means that they cost their full share.{knee}{projected}",
        limits="It does not show whether the networks learn anything at that depth, nor what another machine would "
        f"give: lines are fits, made for N = {regime.minibatches} mini-batches, and hold only between the marks.",
        work=regime.work,
    )


def _instances_depth(regime: Regime) -> int:
    """Return the deepest ℓ that the most series measured at two or more n; 0 where there is none."""
    counts = {
        depth: sum(len({p.instances for p in s.points if p.hidden_layers == depth}) > 1 for s in regime.series)
        for depth in regime.depths
    }
    best = max(counts, key=lambda depth: (counts[depth], depth), default=0)
    return best if best and counts[best] else 0


def _instances(regime: Regime, depth: int, look: dict[str, Look], tag: str) -> Drawing:
    """Draw seconds against training instances at one depth, with the fits."""
    figure, axes = canvas(4.6)
    for series in regime.everything:
        points = [point for point in series.points if point.hidden_layers == depth]
        if not points:
            continue
        style = look[series.name]
        counts = [point.instances for point in points]
        _bars(axes, counts, [point.seconds for point in points], style)
        if len(points) > 1:
            grid = np.geomspace(min(counts), max(counts), 60)
            axes.plot(grid, _fit(series, grid, np.full(60, depth, dtype=float)), **style.line)
    axes.set_xscale("log")
    axes.set_xlabel("training instances n")
    ticks = sorted({p.instances for s in regime.series for p in s.points if p.hidden_layers == depth})
    _ticks(axes, ticks)
    _log_axis(axes, "seconds, start to drained pipeline")
    axes.set_title(f"Time against training data, ℓ = {depth}")
    _legend(figure, {series.name: look[series.name] for series in regime.everything})
    return drawing_of(
        figure,
        name=f"{tag}-time-against-instances",
        title=f"Time against training data, {heading(regime)}",
        alt=f"Seconds against training instances n at {depth} hidden layers, both axes logarithmic: "
        + "; ".join(
            f"{series.name} {number(ends[0].seconds.estimate)} s at n = {ends[0].instances} to "
            f"{number(ends[-1].seconds.estimate)} s at n = {ends[-1].instances}"
            for series in regime.everything
            if (ends := [point for point in series.points if point.hidden_layers == depth])
        )
        + ".",
        reading="Every method has to go through the data, so every line climbs; the lower line does the same work in "
        "less time, and the distance between lines is the factor.",
        limits="It does not tell a law in ℓ: this is one depth only. Where a line bends up at its left end, start-up "
        "and filling the pipeline are a visible part of a short run.",
        work=regime.work,
    )


def _learning(regime: Regime | None, accuracy: Accuracy, tag: str) -> Drawing:
    """Draw time above and held-out accuracy below, on the same axis ℓ."""
    with_time = regime is not None and bool(regime.comparisons)
    figure = Figure(figsize=(WIDTH_INCHES, 6.0 if with_time else 4.4), layout="constrained")
    grid = figure.subplots(2 if with_time else 1, 1, sharex=True, squeeze=False)
    styles = {"al": Look("#0072B2", "o"), "bp": Look("#1f2328", "s")}
    shown_looks: dict[str, Look] = {}
    plain = {series.name for series in accuracy.series} <= {"AL", "BP"}  # then one name serves both halves
    depths = {point.hidden_layers for series in accuracy.series for point in series.points}
    if with_time and regime is not None:
        upper = grid[0][0]
        shown = regime.comparisons
        depths |= {one.hidden_layers for one in shown}
        x = [one.hidden_layers for one in shown]
        for values, name in (
            ([one.al_milliseconds for one in shown], "al"),
            ([one.bp_milliseconds for one in shown], "bp"),
        ):
            shown_looks[name.upper() if plain else f"fastest {name.upper()}, time"] = styles[name]
            _bars(upper, x, values, styles[name])
            upper.plot(x, [value.estimate for value in values], **styles[name].line)
        _log_axis(upper, "fastest, ms a mini-batch")
        upper.set_title("Time, and what was learnt, against depth")
    lower = grid[-1][0]
    families = dict.fromkeys(styles, 0)
    for series in accuracy.series:
        family = "al" if series.method in FOLDED else "bp"
        style = styles[family]
        style = Look(style.colour, (style.marker, "D", "v", "P")[families[family] % 4])
        families[family] += 1
        x = [point.hidden_layers for point in series.longest]
        means = [point.mean for point in series.longest]
        percents = [Interval(estimate=100 * m.estimate, low=100 * m.low, high=100 * m.high) for m in means]
        shown_looks[series.name if plain else f"{series.name}, accuracy"] = style
        _bars(lower, x, percents, style)
        lower.plot(x, [value.estimate for value in percents], **style.line)
    lower.set_ylim(0, 104)
    lower.set_ylabel("held-out accuracy, %")
    if not with_time:
        lower.set_title("What was learnt, against depth")
    _depth_axis(lower, sorted(depths))
    if with_time:
        grid[0][0].set_xlabel("")
    _legend(figure, shown_looks)
    several = any(point.seeds > 1 for series in accuracy.series for point in series.points)
    bars = "; bars are 95 % intervals of the mean over seeds" if several else ""
    kind = "training to the end" if accuracy.trained_to_the_end else "the longest timed runs, which stop early"
    return drawing_of(
        figure,
        name=f"{tag}-accuracy-against-depth",
        title=f"Accuracy against depth, {heading(regime) if regime else accuracy.title}",
        alt=f"Held-out accuracy after {kind}, against hidden layers: "
        + "; ".join(
            f"{series.name} "
            + ", ".join(f"{percent(p.mean.estimate, 1)} at ℓ = {p.hidden_layers}" for p in series.longest)
            for series in accuracy.series
        )
        + ".",
        reading=(
            "Look at one depth in both halves: speed above is worth having only where accuracy below holds up. "
            if with_time
            else "Higher is better. "
        )
        + f"Accuracy is on instances that were never trained on, after {kind}{bars}.",
        limits="It does not show the best that either method can do: both train by one stated recipe, and none was "
        "tuned for each depth."
        if accuracy.trained_to_the_end
        else "It does not show how well the networks can learn: these runs stop after a few mini-batches.",
        work=accuracy.work,
    )


def _speedup(regimes: Sequence[Regime]) -> Drawing:
    """Draw BP's fastest over AL's fastest against ℓ, a line a regime, with the line of equal speed."""
    figure, axes = canvas(4.4)
    shown = [regime for regime in regimes if regime.comparisons]
    regime_looks = dict(zip(map(heading, shown), _regime_looks(len(shown)), strict=True))
    for regime in shown:
        style = regime_looks[heading(regime)]
        x = [one.hidden_layers for one in regime.comparisons]
        _bars(axes, x, [one.speedup for one in regime.comparisons], style)
        axes.plot(x, [one.speedup.estimate for one in regime.comparisons], **style.line)
    axes.axhline(1.0, color=MUTED, linewidth=1.2)
    _depth_axis(axes, sorted({one.hidden_layers for regime in shown for one in regime.comparisons}))
    _log_axis(axes, "times as fast as BP")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.7), max(high, 1.45))
    for text, side, offset in (("AL faster", "bottom", 4), ("AL slower", "top", -4)):
        axes.annotate(
            text,
            (1.0, 1.0),
            xycoords=("axes fraction", "data"),
            xytext=(0, offset),
            textcoords="offset points",
            ha="right",
            va=side,
            color=MUTED,
            fontsize=9.5,
        )
    axes.set_title("AL's fastest engine against BP's fastest")
    _legend(figure, regime_looks)
    return drawing_of(
        figure,
        name="speedup-against-depth",
        title="Speed-up against depth",
        alt="How many times as fast AL's fastest engine is as BP's fastest, against hidden layers: "
        + "; ".join(
            f"{heading(regime)}: "
            + ", ".join(f"{times(one.speedup.estimate)} at ℓ = {one.hidden_layers}" for one in regime.comparisons)
            for regime in shown
        )
        + ".",
        reading="Above the grey line AL trains the same mini-batches in less time, below it in more. Measured engines "
        "only, each side's fastest at each depth.",
        limits="It does not show how well the networks learn, and a loss at small depth does not contradict a win at "
        "large depth: the law is about growth.",
        work=None,
    )


def _regime_looks(count: int) -> list[Look]:
    """Return the looks of regimes, which are not series and so share no legend with them."""
    colours, markers = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"), ("o", "s", "^", "D", "v")
    return [Look(colours[i % 5], markers[(i + i // 5) % 5]) for i in range(count)]


def _growth_words(regime: Regime) -> str:
    """Return where each series starts and ends, for those who do not see the figure."""
    parts = []
    for series in regime.everything:
        if grown := growth(series, regime):
            first, last, start, end = grown
            parts.append(f"{series.name} {number(start)} ms at ℓ = {first} to {number(end)} ms at ℓ = {last}")
    return "Milliseconds per mini-batch against hidden layers, both axes logarithmic: " + "; ".join(parts) + "."


def _bars(axes: Axes, x: Sequence[float], values: Sequence[Interval], style: Look) -> None:
    """Draw marks with interval bars; an interval that does not exist has no bar."""
    estimates = np.array([value.estimate for value in values], dtype=float)
    down = np.nan_to_num([value.estimate - value.low for value in values], nan=0.0, posinf=0.0, neginf=0.0)
    up = np.nan_to_num([value.high - value.estimate for value in values], nan=0.0, posinf=0.0, neginf=0.0)
    axes.errorbar(
        x, estimates, yerr=np.clip([down, up], 0, None), capsize=2.5, elinewidth=1.1, linestyle="none", **style.marks
    )


def _fit(series: Series, instances: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Return the fitted seconds; where a fit is not above zero there is nothing to draw on a logarithmic axis."""
    lanes = np.full(len(depths), series.lanes) if series.has_lanes else None
    seconds = np.asarray(series.verdict.predict(instances, depths, lanes), dtype=float)
    return np.where(seconds > 0, seconds, np.nan)


def _knees(axes: Axes, regime: Regime) -> list[str]:
    """Mark where the lanes are full; return what was marked, in words."""
    knees = {}
    for series in regime.series:
        if series.has_lanes and series.lanes and regime.depths[0] <= 2 * series.lanes <= regime.depths[-1]:
            knees[2 * series.lanes] = f"the {series.lanes} lanes of {series.name} are"
    for depth in knees:
        axes.axvline(depth, color=MUTED, linewidth=1.1, linestyle=":", zorder=0.5)
        axes.annotate(
            f"{depth // 2} lanes full",
            (depth, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -2),
            textcoords="offset points",
            va="top",
            fontsize=9.5,
            color=MUTED,
        )
    return list(knees.values())


def _depth_axis(axes: Axes, depths: Sequence[int]) -> None:
    """Make x a logarithmic axis of hidden layers with a tick at each depth."""
    axes.set_xscale("log", base=2)
    axes.set_xlabel("hidden layers ℓ")
    _ticks(axes, depths)


def _ticks(axes: Axes, values: Sequence[int]) -> None:
    """Put ticks at the values that were measured, and nowhere else."""
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\N{THIN SPACE}")))
    axes.xaxis.set_minor_locator(NullLocator())


def _log_axis(axes: Axes, label: str) -> None:
    """Make y a logarithmic axis with ticks that read as plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(label)


def _legend(figure: Figure, styles: dict[str, Look]) -> None:
    """Put a legend under the axes, where it covers no data."""
    handles = [Line2D([], [], **(style.line | style.marks), label=name) for name, style in styles.items()]
    columns = 1 if max(map(len, styles), default=0) > 34 else 2
    figure.legend(handles=handles, loc="outside lower left", ncols=columns)
