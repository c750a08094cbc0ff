"""Axes: what the figures share: marks with interval bars, logarithmic axes with plain ticks, and legends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from albench.analysis.statistics import Interval
from albench.report.style import Look

LONG_NAME = 30
"""Letters of a legend's name over which two do not fit beside each other."""
LEGEND_ROWS = 6
"""Rows of a legend that a figure has room for; it grows by `ROW_INCHES` with each one more."""
ROW_INCHES = 0.23


def bars(axes: Axes, x: Sequence[float], values: Sequence[Interval], style: Look) -> None:
    """Draw marks with interval bars; an interval that does not exist has no bar."""
    estimates = np.array([value.estimate for value in values], dtype=float)
    down = np.nan_to_num([value.estimate - value.low for value in values], nan=0.0, posinf=0.0, neginf=0.0)
    up = np.nan_to_num([value.high - value.estimate for value in values], nan=0.0, posinf=0.0, neginf=0.0)
    axes.errorbar(
        x, estimates, yerr=np.clip([down, up], 0, None), capsize=2.5, elinewidth=1.1, linestyle="none", **style.marks
    )


def line(axes: Axes, x: Sequence[float], values: Sequence[Interval], style: Look) -> None:
    """Draw marks with interval bars, and straight lines from mark to mark."""
    bars(axes, x, values, style)
    axes.plot(x, [value.estimate for value in values], **style.line)


def depth_axis(axes: Axes, depths: Iterable[int]) -> None:
    """Make x a logarithmic axis of hidden layers with a tick at each depth."""
    axes.set_xscale("log", base=2)
    axes.set_xlabel("hidden layers ℓ")
    ticks(axes, sorted(set(depths)))


def ticks(axes: Axes, values: Sequence[int]) -> None:
    """Put ticks at the values that were measured, and nowhere else."""
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def log_axis(axes: Axes, label: str) -> None:
    """Make y a logarithmic axis with ticks that read as plain numbers."""
    axes.set_yscale("log")
    plain_log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set_ylabel(label)


TICKS_BY_RANGE = (
    (3.0, (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)),
    (12.0, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)),
    (1e4, (1.0, 2.0, 5.0)),
    (math.inf, (1.0,)),
)
"""Up to which ratio of its ends a logarithmic axis has ticks where in each decade: some, and never a crowd."""


def plain_log_ticks(axis: Any, low: float, high: float) -> None:
    """Let a logarithmic axis from `low` to `high` have a handful of ticks, written as plain numbers."""
    subs = next(subs for ratio, subs in TICKS_BY_RANGE if high / low <= ratio)
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def _plain(value: float) -> str:
    """Return a tick's number without powers of ten, thousands apart."""
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}") if value >= 1000 else f"{value:g}"


def legend(figure: Figure, styles: dict[str, Look], more: Sequence[Line2D] = ()) -> None:
    """Put a legend under the axes, where it covers no data; `more` are handles of lines that are no series.

    Where it is long the figure grows: the axes keep their room.
    """
    handles = [Line2D([], [], **(style.line | style.marks), label=name) for name, style in styles.items()]
    handles += more
    columns = legend_columns(handles)
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(figure.get_figheight() + ROW_INCHES * max(0, rows - LEGEND_ROWS))
    figure.legend(handles=handles, loc="outside lower left", ncols=columns)


def legend_columns(handles: Sequence[Line2D]) -> int:
    """Return in how many columns a legend fits under a figure: two, or one where names are long."""
    return 1 if max((len(str(handle.get_label())) for handle in handles), default=0) > LONG_NAME else 2
