"""Tables of a contest: the standings, a grid of lanes × microbatches for each pipeline, and what failed.

The grid is the one in which GPipe's authors, and torchgpipe after them, showed their pipelines: speed relative to one
lane, over lanes and microbatches. Beside each number stands the share of the schedule's own ideal that it reaches.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

from albench.analysis.baselines import IDEALS, Side, Standing, efficiency, lowest_confidence, outcome, speed
from albench.analysis.statistics import CONFIDENCE
from albench.report.answer import Tone
from albench.report.contests import Contest, Grid, grids_of
from albench.report.regimes import WORK_COLUMNS, scaled
from albench.report.tables import NO_CELL, Cell, Row, Table, number_cell
from albench.report.tabulation import failure_table
from albench.report.words import ends, median_words, number, percent

TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "unclear": "open"}
MARKS: dict[Side, str] = {
    "al": "(best AL)",
    "bp": "(best BP)",
    "pipeline": "(best pipeline)",
    "data-parallel": "(best data-parallel)",
}

CSV_COLUMNS = (
    *WORK_COLUMNS,
    "fairness",
    "hidden_layers",
    "minibatches",
    "contender",
    "method",
    "engine",
    "lanes",
    "microbatches",
    "status",
    "reason",
    "rounds",
    "samples_per_second",
    "milliseconds_per_minibatch",
    "milliseconds_low",
    "milliseconds_high",
    "speed_against_best_bp",
    "speed_against_best_bp_low",
    "speed_against_best_bp_high",
    "speed_against_best_pipeline",
    "speed_against_best_pipeline_low",
    "speed_against_best_pipeline_high",
    "ideal_speedup",
    "efficiency",
    "effective_parameters",
    "affiliated_parameters",
    "gflop_per_minibatch",
)
"""Columns of ``baselines.csv``: one row a contender, then one a case that failed."""


def contest_tables(contest: Contest) -> list[Table]:
    """Return all tables of a contest."""
    failed = failure_table(contest.failures, caption=f"Not measured, {contest.title}")
    tables = [standings_table(contest), *grid_tables(contest), failed]
    return [table for table in tables if table is not None]


def standings_table(contest: Contest) -> Table | None:
    """Return every contender, most samples a second first; None where nobody was measured."""
    if not contest.standings:
        return None
    bp, pipeline = contest.best("bp"), contest.best("pipeline")
    marks = {one.name: mark for side, mark in MARKS.items() if (one := contest.best(side))}
    confidence = lowest_confidence(one for one in contest.standings if one.rounds > 1)
    worth = f", with the fewest rounds here an interval of {percent(confidence)}" if confidence < CONFIDENCE else ""
    return Table(
        caption=f"Who trains most in a second, at {contest.fairness}, {contest.title}",
        columns=(
            "contender",
            "lanes",
            "M",
            "samples/s",
            "ms a mini-batch",
            f"times as fast as {bp.name if bp else 'the best BP'}",
            f"times as fast as {pipeline.name if pipeline else 'the best pipeline'}",
            "parameters, effective + affiliated",
            "GFLOP a mini-batch",
        ),
        rows=tuple(
            Row(
                cells=(
                    Cell(one.name, marks.get(one.name, "")),
                    number_cell(one.lanes, str),
                    number_cell(one.microbatches, str),
                    number_cell(one.samples_per_second),
                    _milliseconds(one),
                    _speed_cell(one, bp),
                    _speed_cell(one, pipeline),
                    _parameters(one),
                    number_cell(one.flops_per_minibatch / 1e9 if one.flops_per_minibatch else None),
                )
            )
            for one in contest.standings
        ),
        note=f"{median_words((one.rounds for one in contest.standings), 'its interval')}{worth}, over "
        f"N = {contest.minibatches} mini-batches from an empty to a drained pipeline, optimizer included. Each side's "
        "best is picked after the fact, which flatters the side with more contenders. A speed is called a difference "
        "only where its whole interval is on one side of 1.",
    )


def grid_tables(contest: Contest) -> list[Table]:
    """Return speed over lanes × microbatches for each pipeline, BP on one lane being 1; none without that BP."""
    measures = [(grid, contest.one_lane_beside(grid.way)) for grid in grids_of(contest)]
    return [_grid_table(contest, grid, one_lane) for grid, one_lane in measures if one_lane is not None]


def _grid_table(contest: Contest, grid: Grid, one_lane: Standing) -> Table:
    ideal = IDEALS[grid.method]
    return Table(
        caption=f"{grid.name} over lanes and microbatches, times as fast as {one_lane.name}, {contest.title}",
        columns=("lanes", *[f"M = {microbatches}" for microbatches in grid.microbatches]),
        rows=tuple(
            Row(cells=(number_cell(lanes, str), *[_grid_cell(grid, lanes, m, one_lane) for m in grid.microbatches]))
            for lanes in grid.lanes
        ),
        note=f"In brackets the interval; then the efficiency, the share of the schedule's ideal {ideal.formula}, which "
        f"assumes {ideal.assumption}.",
    )


def _grid_cell(grid: Grid, lanes: int, microbatches: int, one_lane: Standing) -> Cell:
    one = grid.cells.get((lanes, microbatches))
    if one is None:
        return Cell("failed", tone="bad") if (lanes, microbatches) in grid.failed else Cell(NO_CELL)
    ratio, share = speed(one, one_lane), efficiency(one, one_lane)
    reached = f"{percent(share.estimate)} of {number(one.ideal)}×" if share and one.ideal else ""
    return number_cell(ratio.estimate, _ratio, f"{ends(ratio)} {reached}".strip())


def _milliseconds(one: Standing) -> Cell:
    interval = scaled(one.minibatch_seconds, 1e3)
    return number_cell(interval.estimate, detail=ends(interval))


def _speed_cell(one: Standing, measure: Standing | None) -> Cell:
    if measure is None:
        return Cell(NO_CELL)
    if one is measure:
        return Cell("1×", "the measure", value=1.0)
    ratio = speed(one, measure)
    return Cell(_ratio(ratio.estimate), ends(ratio), tone=TONES[outcome(ratio)], value=ratio.estimate)


def _ratio(value: float) -> str:
    """Return a ratio to three digits: a few percent are a result here."""
    return f"{number(value)}×"


def _parameters(one: Standing) -> Cell:
    if one.effective_parameters is None:
        return Cell(NO_CELL)
    text = f"{number(one.effective_parameters)} + {number(one.affiliated_parameters or 0)}"
    return Cell(text, value=one.effective_parameters + (one.affiliated_parameters or 0))


def contests_csv(contests: Sequence[Contest]) -> str:
    """Return every contender of every contest as comma-separated values, and every case that failed."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for contest in contests:
        work = dataclasses.asdict(contest.work) | {
            "fairness": contest.fairness,
            "hidden_layers": contest.hidden_layers,
            "minibatches": contest.minibatches,
        }
        writer.writerows(work | _csv_row(contest, one) for one in contest.standings)
        writer.writerows(
            work | {"contender": one.scenario, "status": one.status, "reason": one.reason, "rounds": one.rounds}
            for one in contest.failures
        )
    return stream.getvalue()


def _csv_row(contest: Contest, one: Standing) -> dict[str, object]:
    milliseconds = scaled(one.minibatch_seconds, 1e3)
    row: dict[str, object] = {
        "contender": one.name,
        "method": one.method,
        "engine": one.engine,
        "lanes": one.lanes,
        "microbatches": one.microbatches,
        "status": "measured",
        "rounds": one.rounds,
        "samples_per_second": one.samples_per_second,
        "milliseconds_per_minibatch": milliseconds.estimate,
        "milliseconds_low": milliseconds.low,
        "milliseconds_high": milliseconds.high,
        "ideal_speedup": one.ideal,
        "effective_parameters": one.effective_parameters,
        "affiliated_parameters": one.affiliated_parameters,
        "gflop_per_minibatch": one.flops_per_minibatch / 1e9 if one.flops_per_minibatch else None,
    }
    for name, measure in (("best_bp", contest.best("bp")), ("best_pipeline", contest.best("pipeline"))):
        if measure:
            ratio = speed(one, measure)
            row |= {
                f"speed_against_{name}": ratio.estimate,
                f"speed_against_{name}_low": ratio.low,
                f"speed_against_{name}_high": ratio.high,
            }
    one_lane = contest.one_lane_beside(one.engine)
    share = efficiency(one, one_lane) if one_lane else None
    return row | {"efficiency": share.estimate if share else None}
