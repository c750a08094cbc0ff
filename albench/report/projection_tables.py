"""Projection tables: speed over lanes, projected against measured, and the same numbers as comma-separated values."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Sequence

from albench.analysis.projection import Projected
from albench.methods import method_named
from albench.report.drawing import Drawing
from albench.report.projection_checks import Check, deviations_of
from albench.report.projection_choices import fall_words
from albench.report.projections import Curve, Projection
from albench.report.regimes import WORK_COLUMNS, scaled
from albench.report.tables import NO_CELL, Cell, Row, Table, markdown, markdown_text
from albench.report.words import counted, ends, number, percent, times

CSV_COLUMNS = (
    *WORK_COLUMNS,
    "lane",
    "kind",
    "method",
    "engine",
    "microbatches",
    "lanes",
    "hidden_layers",
    "minibatches",
    "milliseconds_per_minibatch",
    "samples_per_second",
    "reference",
    "speed_against_reference",
    "speed_against_own_one_lane",
    "bubble_share",
    "is_bound",
    "projected_milliseconds_per_minibatch",
    "error_percent",
)
"""Columns of ``projection.csv``: first a row a projected point (kind "projected"), then one a check (kind "measured"),
whose last two columns are what is projected for that very case and how far it is off."""


def projection_tables(projection: Projection) -> list[Table]:
    """Return all tables of a projection."""
    found = [speed_table(projection), check_table(projection)]
    return [table for table in found if table is not None]


def heading(projection: Projection) -> str:
    """Return what is projected, in words."""
    depth = f"ℓ = {projection.hidden_layers}{', deeper than measured' if projection.deepened else ''}"
    return f"{depth}, {projection.title}, N = {projection.minibatches}"


def speed_table(projection: Projection) -> Table:
    """Return a row a number of lanes; a pipeline of BP shows its best number of microbatches."""
    methods = [method for method in projection.methods if method != "bp"]
    bound = any(curve.is_bound for curve in projection.curves)
    return Table(
        caption=f"Projected, not measured: times as fast as {projection.reference}, {heading(projection)}",
        columns=("lanes", *[method_named(method).title for method in methods]),
        rows=tuple(
            Row(
                cells=(Cell(str(lanes)), *[_speed_cell(projection, method, lanes) for method in methods]),
                projected=True,
            )
            for lanes in _rows(projection, methods)
        ),
        note=" ".join(
            [
                "In brackets the bubble, the share of the lanes' time in which they wait"
                + (
                    ", and a pipeline's M: on each number of lanes the best of those that were measured or asked for."
                    if projection.has_pipelines
                    else "."
                ),
                *[f"{end}." for end in _ends(projection, methods)],
                *[words for method in methods for words in fall_words(projection, method)],
                *(
                    ["≤: no more, for small matrix products were taken for as efficient as large ones."]
                    if bound
                    else []
                ),
            ]
        ),
    )


def missing_words(projection: Projection) -> list[str]:
    """Return what is not projected, and why, a line each."""
    return [f"Not projected: {words}." for words in projection.missing]


def check_table(projection: Projection) -> Table | None:
    """Return every case that was measured on lanes, and what is projected for it; None where there is none."""
    if not projection.checks:
        return None
    return Table(
        caption=f"Projected against measured, {projection.title}",
        columns=("case", "ℓ", "N", "measured, ms a mini-batch", "projected, ms a mini-batch", "error"),
        rows=tuple(_check_row(check) for check in projection.checks),
        note=f"{deviation_sentence(projection.checks)} Errors are projected over measured, less 1: below 0, lanes are "
        "slower than projected. Each is projected from times on fewer lanes only.",
    )


def deviation_sentence(checks: Sequence[Check]) -> str:
    """Return how far projections are from what was measured, by method."""
    parts = [
        f"{method_named(one.method).title} {signed_percent(one.worst_error)}"
        if one.cases == 1
        else f"{method_named(one.method).title} {percent(one.median_error)} in the median of "
        f"{counted(one.cases, 'case')}, at most {signed_percent(one.worst_error)}"
        for one in deviations_of(checks)
    ]
    return f"Projections are off by: {'; '.join(parts)}." if parts else "Nothing was measured on several lanes."


def signed_percent(share: float) -> str:
    """Return a deviation in per cent, with its sign."""
    whole = round(100 * share)
    return f"{whole:+d} %".replace("-", "\N{MINUS SIGN}") if whole else "0 %"


def _rows(projection: Projection, methods: Sequence[str]) -> list[int]:
    """Return the lanes that were asked for, up to the most on which anybody has something to do."""
    most = max((projection.most(method) for method in methods), default=1)
    used = {lanes for lanes in projection.asked_lanes if lanes <= most}
    return sorted(used | ({most} if most < max(projection.asked_lanes) else set())) or [1]


def _speed_cell(projection: Projection, method: str, lanes: int) -> Cell:
    most = projection.most(method)
    if lanes > most:
        curve, projected = _at(projection, method, most)
        return Cell(_speed(projection, curve, projected), f"(on {most})")
    best = projection.best(method, lanes)
    if best is None:
        return Cell(NO_CELL)
    curve, projected = best
    m = f", M = {curve.microbatches}" if curve.microbatches is not None else ""
    return Cell(_speed(projection, curve, projected), f"({percent(projected.bubble_share)}{m})")


def _speed(projection: Projection, curve: Curve, projected: Projected) -> str:
    return ("≤ " if curve.is_bound else "") + times(projection.speed(projected.seconds))


def _ends(projection: Projection, methods: Sequence[str]) -> list[str]:
    """Say where each method has no use for more of the lanes that were asked for."""
    found = []
    for method in methods:
        most = projection.most(method)
        if most < max(projection.asked_lanes):
            curve, _ = _at(projection, method, most)
            found.append(f"{method_named(method).title} stops at {counted(most, 'lane')}: {curve.end}")
    return found


def _at(projection: Projection, method: str, lanes: int) -> tuple[Curve, Projected]:
    best = projection.best(method, lanes)
    assert best is not None
    return best


def _check_row(check: Check) -> Row:
    scale = 1e3 / check.minibatches
    measured = check.measured
    interval = ends(scaled(measured, scale))
    return Row(
        cells=(
            Cell(check.series),
            Cell(str(check.hidden_layers)),
            Cell(str(check.minibatches)),
            Cell(number(measured.estimate * scale), interval),
            Cell(number(check.projected_seconds * scale)),
            Cell(signed_percent(check.error)),
        )
    )


def projection_csv(projections: Sequence[Projection]) -> str:
    """Return every projected point and every check."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for projection in projections:
        for curve in projection.curves:
            for row in _csv_rows(projection, curve):
                writer.writerow(row)
        for check in projection.checks:
            writer.writerow(_csv_check(projection, check))
    return stream.getvalue()


def _place(projection: Projection) -> dict[str, object]:
    return {**dataclasses.asdict(projection.work), "lane": projection.lane}


def _csv_rows(projection: Projection, curve: Curve) -> list[dict[str, object]]:
    rows = []
    for lanes, projected in curve.points.items():
        rows.append(
            _place(projection)
            | {
                "kind": "projected",
                "method": curve.method,
                "microbatches": curve.microbatches,
                "lanes": lanes,
                "hidden_layers": projection.hidden_layers,
                "minibatches": projection.minibatches,
                "milliseconds_per_minibatch": 1e3 * projected.seconds / projection.minibatches,
                "samples_per_second": projection.instances / projected.seconds,
                "reference": projection.reference,
                "speed_against_reference": projection.speed(projected.seconds),
                "speed_against_own_one_lane": curve.points[1].seconds / projected.seconds,
                "bubble_share": projected.bubble_share,
                "is_bound": curve.is_bound,
            }
        )
    return rows


def _csv_check(projection: Projection, check: Check) -> dict[str, object]:
    return _place(projection) | {
        "kind": "measured",
        "method": check.method,
        "engine": check.engine,
        "microbatches": check.microbatches,
        "lanes": check.lanes,
        "hidden_layers": check.hidden_layers,
        "minibatches": check.minibatches,
        "milliseconds_per_minibatch": 1e3 * check.measured.estimate / check.minibatches,
        "samples_per_second": check.minibatches * projection.work.batch_size / check.measured.estimate,
        "projected_milliseconds_per_minibatch": 1e3 * check.projected_seconds / check.minibatches,
        "error_percent": 100 * check.error,
    }


def projection_markdown(projections: Sequence[Projection], drawings: Sequence[Drawing], *, command: str) -> str:
    """Return the projections in Markdown, with the figures beside it linked."""
    lines = ["# Projected, not measured", ""]
    for projection in projections:
        lines += [f"## {markdown_text(heading(projection))}", ""]
        for drawing in drawings:
            if drawing.work == projection.work and drawing.title.endswith(heading(projection)):
                lines += [f"![{markdown_text(drawing.alt)}](figures/{drawing.name}.svg)", ""]
                lines += [markdown_text(f"{drawing.reading} {drawing.limits}"), ""]
        for table in projection_tables(projection):
            lines += [markdown(table)]
        if projection.missing:
            lines += [*[f"- {markdown_text(words)}" for words in missing_words(projection)], ""]
        lines += ["What this takes for granted:", ""]
        lines += [f"- {markdown_text(sentence)}" for sentence in projection.assumptions] + [""]
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    return "\n".join([*lines, "## Reproduce", "", fence, command, fence, ""])
