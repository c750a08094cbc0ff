"""Comparison in words: two runs side by side, what differs around them first, then a row a case.

The terminal and Markdown print the same tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console

from albench.analysis.comparison import VERDICTS, Comparison, Judged, Verdict
from albench.analysis.statistics import CONFIDENCE, Interval
from albench.errors import UsageError
from albench.harness.run_pair import RunPair, Unpaired
from albench.report.tables import Cell, Row, Table, markdown, markdown_text, terminal
from albench.report.words import counted, ends, number

TONES: dict[Verdict, str] = {"faster": "good", "slower": "bad", "same": "", "can't tell": "open"}


def show(pair: RunPair, comparison: Comparison, *, console: Console, markdown_file: Path | None = None) -> None:
    """Print the comparison on a console, and into a file of Markdown if one is named.

    A file that cannot be written is a `UsageError`, before anything is printed.
    """
    tables, summary = comparison_tables(pair, comparison), comparison_summary(comparison)
    if markdown_file is not None:
        content = "\n".join([*map(markdown, tables), markdown_text(summary)]) + "\n"
        try:
            markdown_file.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{markdown_file} cannot be written ({error.strerror}): give another file") from None
    for table in tables:
        console.print(terminal(table))
    console.print(summary, markup=False)


def comparison_tables(pair: RunPair, comparison: Comparison) -> list[Table]:
    """Return the tables: surroundings that differ, cases, and cases that only one run has a time of; empty ones not."""
    tables = [_surroundings(pair), _cases(pair, comparison), _unpaired(pair.unpaired)]
    return [table for table in tables if table.rows]


def comparison_summary(comparison: Comparison) -> str:
    """Return the last line: how many cases have which verdict, and the geometric mean."""
    counts = [f"{comparison.count(verdict)} {verdict}" for verdict in VERDICTS]
    mean = comparison.mean
    told = f"{_ratio(mean)}" if mean.confidence else f"{number(mean.estimate)} (one case has no interval)"
    line = f"{counted(len(comparison.cases), 'case')}: {', '.join(counts)}."
    return line if math.isnan(mean.estimate) else f"{line} Geometric mean of B / A: {told}."


def _surroundings(pair: RunPair) -> Table:
    rows = []
    for one in pair.surroundings:
        mixed = f"mixed within {' and '.join(one.mixed)}" if one.mixed else ""
        rows.append(
            Row(cells=(Cell(one.field), Cell(" | ".join(one.before)), Cell(" | ".join(one.after)), Cell(mixed)))
        )
    return Table(
        caption="Not the same in A and B: a difference in time may come from any of these",
        columns=("what", "A", "B", ""),
        rows=tuple(rows),
        prose=True,
    )


def _cases(pair: RunPair, comparison: Comparison) -> Table:
    left_out = f" {counted(pair.left_out, 'case')} trained to the end left out." if pair.left_out else ""
    off_pace = " and ".join(f"{count} in {run}" for run, count in zip("AB", pair.off_pace, strict=True) if count)
    paced = f" Times taken while the machine was off its pace by more than 15 %: {off_pace}." if off_pace else ""
    notes = "".join(f" Note: {note}." for note in comparison.notes)
    return Table(
        caption="Time in B over time in A",
        columns=("case", "A", "B", "B / A", "verdict", "why"),
        rows=tuple(_row(case) for case in comparison.cases),
        prose=True,
        note=(
            f"Median milliseconds (rounds); ratio with its {100 * CONFIDENCE:g} % interval, or the widest that the "
            f"rounds have; noise threshold {100 * comparison.noise:g} %; p is corrected for all cases tested."
            f"{left_out}{paced}{notes}"
        ),
    )


def _row(case: Judged) -> Row:
    return Row(
        cells=(
            Cell(case.pair.name),
            _median(case.pair.before),
            _median(case.pair.after),
            Cell(_ratio(case.ratio)),
            Cell(case.verdict, tone=TONES[case.verdict]),
            Cell(case.reason),
        )
    )


def _median(seconds: Sequence[float]) -> Cell:
    return Cell(number(1000 * median(seconds)), f"({len(seconds)})")


def _ratio(ratio: Interval) -> str:
    return f"{number(ratio.estimate)} {ends(ratio)}".rstrip()


def _unpaired(cases: Sequence[Unpaired]) -> Table:
    return Table(
        caption="Not compared: there is no time of it in one of the runs",
        columns=("case", "no time in", "why"),
        rows=tuple(Row(cells=(Cell(one.name), Cell(one.run), Cell(one.reason or "not in that run"))) for one in cases),
        prose=True,
    )
