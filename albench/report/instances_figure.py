"""Instances figure: seconds against n at the deepest network. Time must be a line in n, or nothing else means much."""

from __future__ import annotations

import numpy as np

from albench.report.answers import heading
from albench.report.axes import bars, legend, log_axis, ticks
from albench.report.drawing import Drawing, canvas, drawing_of
from albench.report.fits import fit_line
from albench.report.regimes import Regime
from albench.report.style import Look
from albench.report.words import number

PLACES = 60


def instances_depth(regime: Regime) -> int:
    """Return the deepest ℓ that the most series measured at two or more n; 0 where there is none."""
    counts = {
        depth: sum(len({p.instances for p in s.points if p.hidden_layers == depth}) > 1 for s in regime.series)
        for depth in regime.depths
    }
    best = max(counts, key=lambda depth: (counts[depth], depth), default=0)
    return best if best and counts[best] else 0


def instances_drawing(regime: Regime, depth: int, look: dict[str, Look], tag: str) -> Drawing:
    """Draw seconds against training instances at one depth, with the fits."""
    figure, axes = canvas(4.6)
    for series in regime.everything:
        points = [point for point in series.points if point.hidden_layers == depth]
        if not points:
            continue
        style = look[series.name]
        counts = [point.instances for point in points]
        bars(axes, counts, [point.seconds for point in points], style)
        if len(points) > 1:
            grid = np.geomspace(min(counts), max(counts), PLACES)
            axes.plot(grid, fit_line(series, grid, np.full(PLACES, depth, dtype=float)), **style.line)
    axes.set_xscale("log")
    axes.set_xlabel("training instances n")
    ticks(axes, sorted({p.instances for s in regime.series for p in s.points if p.hidden_layers == depth}))
    log_axis(axes, "seconds, start to drained pipeline")
    axes.set_title(f"Time against training data, ℓ = {depth}")
    legend(figure, {series.name: look[series.name] for series in regime.everything})
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
