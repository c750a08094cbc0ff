"""Heat map: AL's fastest over BP's fastest, over depth and batch size or width. Losses are as visible as wins.

White is a draw, and equal factors either way are equally strong colours. Each cell has its number, so that nothing
rests on colour alone; what is not certain has a question mark.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from albench.analysis.baselines import outcome
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.regimes import Comparison
from albench.report.sizes import AXIS_WORDS, SizeMap
from albench.report.style import DIVERGING, INK, MUTED, SMALL
from albench.report.words import counted, number, times

FULL_COLOUR = 2.0
"""Colours reach their end at this factor or at the largest of the map, whichever is more: 1.1× is no triumph."""
DARK = 0.5
"""Luminance of a cell, in [0, 1], under which its letters are white."""
LUMINANCE = (0.299, 0.587, 0.114)
"""What red, green and blue add to it (ITU-R BT.601)."""
ROW_INCHES = 0.46
LETTERS, MOST_COLUMNS = SMALL, 8
"""Size of the numbers, and in how many columns they have room at that size."""


def size_map_drawing(found: SizeMap, name: str) -> Drawing:
    """Draw how many times as fast AL's fastest is as BP's fastest, a cell a (size, ℓ)."""
    depths, sizes = found.depths, found.sizes
    figure = Figure(figsize=(WIDTH_INCHES, 2.1 + ROW_INCHES * len(sizes)), layout="constrained")
    axes = figure.subplots()
    ratios = np.full((len(sizes), len(depths)), math.nan)
    for (depth, size), cell in found.cells.items():
        ratios[sizes.index(size), depths.index(depth)] = cell.speedup.estimate
    end = max(FULL_COLOUR, float(np.nanmax(np.maximum(ratios, 1 / ratios))))
    mesh = axes.pcolormesh(ratios, cmap=DIVERGING, norm=LogNorm(1 / end, end), edgecolors="white", linewidth=2)
    letters = min(LETTERS, LETTERS * MOST_COLUMNS / len(depths))
    for row, size in enumerate(sizes):
        for column, depth in enumerate(depths):
            _number(axes, column, row, found.cells.get((depth, size)), end, letters)
    axes.set_xticks(np.arange(len(depths)) + 0.5, list(map(str, depths)))
    axes.set_yticks(np.arange(len(sizes)) + 0.5, list(map(str, sizes)))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("hidden layers ℓ")
    axes.set_ylabel(AXIS_WORDS[found.axis])
    _scale(figure, axes, mesh, end)
    other = AXIS_WORDS[found.axis].removesuffix(" B")
    figure.suptitle(
        f"AL's fastest against BP's fastest,\n{found.title}", x=0.02, ha="left", fontsize=12, fontweight="bold"
    )
    unclear = sum(outcome(one.speedup) == "unclear" for one in found.cells.values())
    return drawing_of(
        figure,
        name=name,
        title=f"AL over BP against depth and {other}, {found.title}",
        alt=f"How many times as fast AL's fastest engine is as BP's fastest, over hidden layers and {other}: "
        + "; ".join(
            f"{other} {size}: "
            + ", ".join(
                f"{_ratio(one)} at ℓ = {depth}"
                for depth in depths
                if (one := found.cells.get((depth, size))) is not None
            )
            for size in sizes
        )
        + ".",
        reading="Blue, over 1: AL trains the same mini-batches in less time; orange, under 1: in more; white: no "
        "difference. Each side brings its fastest engine, cell by cell."
        + (
            f" A question mark: the interval holds 1, or there is none, so that which is faster is not certain "
            f"({counted(unclear, 'cell')} of {len(found.cells)})."
            if unclear
            else ""
        ),
        limits="It does not show how well the networks learn at a size, nor times: a factor of a large time and one of "
        "a small time look alike.",
        work=None,
    )


def _ratio(one: Comparison) -> str:
    return f"{times(one.speedup.estimate)}{'?' if outcome(one.speedup) == 'unclear' else ''}"


def _number(axes: Axes, column: int, row: int, one: Comparison | None, end: float, letters: float) -> None:
    """Write the factor of a cell; certain ones bold, `letters` points high."""
    if one is None:
        axes.text(column + 0.5, row + 0.5, "–", ha="center", va="center", color=MUTED)
        return
    cell = DIVERGING(LogNorm(1 / end, end)(one.speedup.estimate))
    luminance = sum(weight * part for weight, part in zip(LUMINANCE, cell, strict=False))
    axes.text(
        column + 0.5,
        row + 0.5,
        _ratio(one).replace("×", ""),
        ha="center",
        va="center",
        color="white" if luminance < DARK else INK,
        fontweight="normal" if outcome(one.speedup) == "unclear" else "bold",
        fontsize=letters,
    )


def _scale(figure: Figure, axes: Axes, mesh: object, end: float) -> None:
    """Put the scale of colours beside the map, with ticks at both ends and in the middle."""
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.02)  # type: ignore[arg-type]
    ticks = [1 / end, 1.0, end]
    bar.set_ticks(ticks, labels=[f"{number(tick, 2)}×" for tick in ticks])
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)
    bar.set_label("AL slower      AL faster", fontsize=SMALL, color=MUTED)
