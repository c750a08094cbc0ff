"""Depth figure: milliseconds per mini-batch against ℓ, the question itself, with the fits and the bands they lie in.

The right-hand scale tells the same times in seconds an epoch, where the size of the data set is known: a pass over all
training instances at the pace of these mini-batches.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from albench.analysis.laws import Array
from albench.analysis.statistics import CONFIDENCE
from albench.report.answers import growth, heading
from albench.report.axes import bars, depth_axis, legend, log_axis, plain_log_ticks
from albench.report.drawing import Drawing, canvas, drawing_of
from albench.report.fits import fit_band, fit_line
from albench.report.regimes import Regime, Series
from albench.report.style import BAND_OPACITY, INK, MUTED, SMALL, Look
from albench.report.words import listed, number, percent

PLACES = 60
"""Places at which a fit is drawn: smooth to the eye, and few to store."""


def depth_drawing(regime: Regime, look: dict[str, Look], tag: str) -> Drawing:
    """Draw milliseconds per mini-batch against ℓ, every series, with the fits and the knees of the lanes."""
    figure, axes = canvas(5.2)
    for series in regime.everything:
        _series(axes, series, regime, look[series.name])
    shaded = [series.name for series in _telling(regime) if _band(axes, series, regime, look[series.name])]
    depth_axis(axes, regime.depths)
    log_axis(axes, "milliseconds per mini-batch")
    epoch = regime.work.epoch_minibatches
    if epoch is not None:
        _epoch_scale(axes, epoch)
    knees = _knees(axes, regime)
    axes.set_title("Time per mini-batch against depth")
    legend(figure, {series.name: look[series.name] for series in regime.everything})
    return drawing_of(
        figure,
        name=f"{tag}-time-against-depth",
        title=f"Time against depth, {heading(regime)}",
        alt=_growth_words(regime, epoch),
        reading="Read from left to right: a flat line means that more layers cost no more time; a line that doubles "
        "with each step to the right means that they cost their full share."
        + (
            f" Shaded: where the fit of {listed(shaded)} lies in {percent(CONFIDENCE)} of its resamples."
            if shaded
            else ""
        )
        + (f" The dotted upright marks where {listed(knees)} full (ℓ/2 = K)." if knees else "")
        + (" Hollow marks on dashed lines are projected, not measured." if regime.projected else ""),
        limits="It does not show whether the networks learn anything at that depth, nor what another machine would "
        f"give: lines are fits, made for N = {regime.minibatches} mini-batches, and hold only between the marks."
        + (
            f" The right-hand scale is the left one times the {number(epoch)} mini-batches that hold every training "
            f"instance of {regime.work.dataset} once, not an epoch that was timed."
            if epoch is not None
            else ""
        ),
        work=regime.work,
    )


def _telling(regime: Regime) -> list[Series]:
    """Return the series whose fits are shaded: AL's fastest, BP's, a projection. More bands would hide each other."""
    deepest = max((depth for one in regime.of_method("al") for depth in one.depths), default=0)
    found = [regime.fastest("al", deepest), regime.baseline, *regime.projected[:1]]
    return [series for series in found if series is not None]


def _series(axes: Axes, series: Series, regime: Regime, look: Look) -> None:
    """Draw one series with its fit."""
    points = [point for depth in series.depths if (point := series.shown(depth, regime.minibatches))]
    bars(axes, [p.hidden_layers for p in points], [p.milliseconds for p in points], look)
    if len(series.depths) > 1:
        instances, depths = _places(series, regime)
        axes.plot(depths, fit_line(series, instances, depths) * 1e3 / regime.minibatches, **look.line)


def _band(axes: Axes, series: Series, regime: Regime, look: Look) -> bool:
    """Shade the band of a fit; return whether there is one."""
    instances, depths = _places(series, regime)
    band = fit_band(series, instances, depths)
    if band is None:
        return False
    low, high = (end * 1e3 / regime.minibatches for end in band)
    axes.fill_between(depths, low, high, color=look.colour, alpha=BAND_OPACITY, linewidth=0)
    return True


def _places(series: Series, regime: Regime) -> tuple[Array, Array]:
    """Return n and ℓ at which a fit is drawn."""
    instances = np.full(PLACES, regime.minibatches * regime.work.batch_size, dtype=float)
    return instances, np.geomspace(series.depths[0], series.depths[-1], PLACES)


def _epoch_scale(axes: Axes, epoch_minibatches: float) -> None:
    """Put the same times in seconds an epoch on the right-hand side."""
    factor = epoch_minibatches / 1e3
    right = axes.secondary_yaxis(
        "right", functions=(lambda ms: np.multiply(ms, factor), lambda s: np.divide(s, factor))
    )
    plain_log_ticks(right.yaxis, *axes.get_ylim())
    right.set_ylabel("seconds per epoch")
    right.spines["right"].set(visible=True, color=INK)


def _growth_words(regime: Regime, epoch_minibatches: float | None) -> str:
    """Return where each series starts and ends, for those who do not see the figure."""
    parts = []
    for series in regime.everything:
        if grown := growth(series, regime):
            first, last, start, end = grown
            epoch = "" if epoch_minibatches is None else f" ({number(end * epoch_minibatches / 1e3)} s an epoch)"
            parts.append(f"{series.name} {number(start)} ms at ℓ = {first} to {number(end)} ms at ℓ = {last}{epoch}")
    return "Milliseconds per mini-batch against hidden layers, both axes logarithmic: " + "; ".join(parts) + "."


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
            fontsize=SMALL,
            color=MUTED,
        )
    return list(knees.values())
