"""Verdict tables: how each series grows, what its layers and mini-batches cost, and which law fits how well."""

from __future__ import annotations

from albench.report.answers import MEANINGS, TONES
from albench.report.regimes import Regime, scaled
from albench.report.tables import Cell, Row, Table, number_cell
from albench.report.tabulation import interval_cell, tenth_percent
from albench.report.words import percent, times


def verdict_table(regime: Regime) -> Table | None:
    """Return how each series grows: the verdict, and the sizes that it was made from; None without a sweep."""
    if not regime.swept:
        return None
    rows = []
    for series in regime.swept:
        verdict = series.verdict
        ratio = regime.product_ratio(series)
        baseline = series is regime.baseline
        rows.append(
            Row(
                cells=(
                    Cell(series.name),
                    Cell(verdict.complexity, MEANINGS[verdict.complexity], TONES[verdict.complexity]),
                    interval_cell(verdict.product_share),
                    interval_cell(verdict.growth, times),
                    Cell("100 %", "the measure", value=1.0) if baseline else interval_cell(ratio, percent),
                    interval_cell(verdict.exponent_n),
                    interval_cell(verdict.exponent_depth),
                ),
                projected=series.projected,
            )
        )
    against = regime.baseline.name if regime.baseline else "BP"
    return Table(
        caption=f"Verdicts, {regime.title}",
        columns=(
            "series",
            "verdict",
            "product share",
            "steady cost grows",
            f"an extra layer ({against} = 100 %)",
            "exponent of n",
            "exponent of ℓ",
        ),
        rows=tuple(rows),
        note="In brackets: 95 % intervals. The steady cost is what one more training instance costs once the pipeline "
        "is full; it grows from the shallowest to the deepest network measured.",
    )


def coefficient_table(regime: Regime) -> Table | None:
    """Return the fitted coefficients of T = c + a·n + b·ℓ + γ·nℓ in units of a person; None without a sweep."""
    if not regime.swept:
        return None
    batch = regime.work.batch_size
    units = (("c", 1e3), ("a", 1e3 * batch), ("b", 1e3), ("gamma", 1e3 * batch))
    return Table(
        caption=f"Fitted costs, {regime.title}",
        columns=(
            "series",
            "start-up c, ms",
            "each mini-batch a·B, ms",
            "each layer, once, b, ms",
            "each layer of each mini-batch γ·B, ms",
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(series.name),
                    *[interval_cell(scaled(series.verdict.coefficients[name], unit)) for name, unit in units],
                ),
                projected=series.projected,
            )
            for series in regime.swept
        ),
        note="T = c + a·n + b·ℓ + γ·nℓ, with n the training instances and B the batch size. The last column is what "
        "back-propagation pays and a perfect pipeline does not.",
    )


def fit_table(regime: Regime) -> Table | None:
    """Return how well each law fits each series; None where nothing was fitted."""
    rows = [
        Row(
            cells=(
                Cell(series.name),
                Cell(fit.law),
                number_cell(fit.aicc),
                number_cell(fit.held_out_error, tenth_percent),
            ),
            projected=series.projected,
        )
        for series in regime.everything
        for fit in series.verdict.fits
    ]
    return (
        Table(
            caption=f"Laws that were fitted, {regime.title}",
            columns=("series", "law", "AICc, lower is better", "error on the deepest ℓ, held out"),
            rows=tuple(rows),
        )
        if rows
        else None
    )
