"""Pace: the table of what a further mini-batch costs, and of what filling the pipeline costs, by series and depth."""

from __future__ import annotations

from albench.analysis.pace import pace
from albench.report.regimes import Regime, Series
from albench.report.tables import Cell, Row, Table, number_cell
from albench.report.words import percent

COLUMNS = ("series", "ℓ", "ms a further mini-batch", "fill, ms", "fill, mini-batches", "ideal", "off the line by")
IN_TICKS = ("fused", "fused-compiled", "graph")
"""Engines of AL that run tick by tick, every component in a slot of its own: their ideal fill is ℓ/2 - 1 ticks."""


def pace_table(regime: Regime) -> Table | None:
    """Return a row a series and depth that was run at two lengths or more; None where there is none."""
    rows = [row for series in regime.series for depth in series.depths if (row := _row(series, depth))]
    if not rows:
        return None
    return Table(
        caption=f"Steady pace and fill, {regime.title}",
        columns=COLUMNS,
        rows=tuple(rows),
        note="From the line T = c + s·N through the medians of runs of different lengths: s is what one more "
        "mini-batch costs once the pipeline is full, c what is beside that, filling, draining and starting. The ideal "
        "fill of an engine that runs tick by tick is ℓ/2 - 1 ticks, back-propagation's none. The last column is the "
        "largest distance of a time from its line; where it is large there is no such line, and two lengths cannot "
        "show any.",
    )


def _row(series: Series, hidden_layers: int) -> Row | None:
    points = [point for point in series.points if point.hidden_layers == hidden_layers]
    found = pace([point.minibatches for point in points], [point.seconds.estimate for point in points])
    if found is None:
        return None
    return Row(
        cells=(
            Cell(series.name),
            number_cell(hidden_layers, str),
            number_cell(1e3 * found.step_seconds),
            number_cell(1e3 * found.fill_seconds),
            number_cell(found.fill_minibatches),
            number_cell(_ideal(series, hidden_layers), str),
            number_cell(found.worst_error, percent),
        )
    )


def _ideal(series: Series, hidden_layers: int) -> int | None:
    if series.method == "al" and series.engine in IN_TICKS:
        return hidden_layers // 2 - 1
    one_by_one = series.method == "bp" or (series.method, series.engine) == ("al", "serial")
    return 0 if one_by_one else None
