"""Comparison in words: two runs side by side, what differs around them first, then a row a case.

The terminal and Markdown print the same tables, but for the reasons: a terminal has room for a few words on the line of
a case, Markdown says what would decide it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console

from albench.analysis.comparison import VERDICTS, Comparison, Judged, Verdict
from albench.analysis.statistics import CONFIDENCE, Interval
from albench.analysis.surroundings import shown_name
from albench.errors import UsageError
from albench.harness.run_pair import RunPair, Unpaired
from albench.report.tables import Cell, Row, Table, markdown, markdown_text, number_cell, terminal
from albench.report.words import counted, ends, number
from albench.whole_file import write_whole

TONES: dict[Verdict, str] = {"faster": "good", "slower": "bad", "same": "", "can't tell": "open"}


def show(pair: RunPair, comparison: Comparison, *, console: Console, markdown_file: Path | None = None) -> None:
    """Print the comparison on a console, and into a file of Markdown if one is named.

    A file that cannot be written is a `UsageError`, before anything is printed.
    """
    tables, summary = comparison_tables(pair, comparison), comparison_summary(comparison)
    brief = comparison_tables(pair, comparison, at_length="--markdown FILE")
    if markdown_file is not None:
        content = "\n".join([*map(markdown, tables), markdown_text(summary)]) + "\n"
        try:
            if markdown_file.is_file() or not markdown_file.exists():
                write_whole(markdown_file, content)
            else:  # such as /dev/stdout, in whose place nothing can be put
                markdown_file.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{markdown_file} cannot be written ({error.strerror}): give another file") from None
    for table in brief:
        console.print(terminal(table))
    console.print(summary, markup=False)


def comparison_tables(pair: RunPair, comparison: Comparison, *, at_length: str = "") -> list[Table]:
    """Return the tables: surroundings that differ, cases, and cases that only one run has a time of; empty ones not.

    `at_length` says where the whole reasons stand, and then these tables hold a few words; empty: they stand here.
    """
    cases = cases_table(pair, comparison, at_length=at_length)
    tables = [surroundings_table(pair), cases, unpaired_table(pair.unpaired)]
    return [table for table in tables if table.rows]


def comparison_summary(comparison: Comparison) -> str:
    """Return the last line: how many cases have which verdict, and the geometric mean."""
    counts = [f"{comparison.count(verdict)} {verdict}" for verdict in VERDICTS]
    mean = comparison.mean
    told = f"{_ratio(mean)}" if mean.confidence else f"{number(mean.estimate)} (one case has no interval)"
    line = f"{counted(len(comparison.cases), 'case')}: {', '.join(counts)}."
    return line if math.isnan(mean.estimate) else f"{line} Geometric mean of B / A: {told}."


def surroundings_table(pair: RunPair) -> Table:
    """Return what differs around two runs; a table without a row where nothing does."""
    rows = []
    for one in pair.surroundings:
        mixed = f"mixed within {' and '.join(one.mixed)}" if one.mixed else ""
        rows.append(
            Row(
                cells=(
                    Cell(shown_name(one.field)),
                    Cell(" | ".join(one.before)),
                    Cell(" | ".join(one.after)),
                    Cell(mixed),
                )
            )
        )
    return Table(
        caption="Not the same in A and B: a difference in time may come from any of these",
        columns=("what", "A", "B", "within a run"),
        rows=tuple(rows),
        prose=True,
    )


def cases_table(pair: RunPair, comparison: Comparison, *, at_length: str = "") -> Table:
    """Return a row a case with its verdict, in the order of the comparison."""
    notes = "".join(f" Note: {note}." for note in comparison.notes)
    more = f" Why at length: {at_length}." if at_length else ""
    return Table(
        caption="Time in B over time in A",
        columns=("case", "A", "B", "B / A", "verdict", "why"),
        rows=tuple(_row(case, brief=bool(at_length)) for case in comparison.cases),
        prose=True,
        note=f"{_ratio_note(pair, comparison)} Noise threshold {100 * comparison.noise:g} %; p is "
        f"the p-value of a rank test, corrected for all cases tested.{notes}{more}",
    )


def times_table(pair: RunPair, comparison: Comparison) -> Table:
    """Return a row a case without a verdict, in the order in which A measured them."""
    judged = {case.pair.key: case for case in comparison.cases}
    return Table(
        caption="Times of A and B side by side, not compared as a change",
        columns=("case", "A", "B", "B / A"),
        rows=tuple(Row(cells=_times(judged[one.key])) for one in pair.pairs),
        prose=True,
        note=_ratio_note(pair, comparison),
    )


def _ratio_note(pair: RunPair, comparison: Comparison) -> str:
    left_out = f" {counted(pair.left_out, 'case')} trained to the end left out." if pair.left_out else ""
    off_pace = " and ".join(f"{count} in {run}" for run, count in zip("AB", pair.off_pace, strict=True) if count)
    paced = f" Times taken while the machine was off its pace by more than 15 %: {off_pace}." if off_pace else ""
    once = (
        " Of one round in each run there is no interval."
        if any(not c.ratio.confidence for c in comparison.cases)
        else ""
    )
    return (
        f"Median milliseconds (rounds); ratio with its {100 * CONFIDENCE:g} % interval, or the widest that the "
        f"rounds have.{once}{left_out}{paced}"
    )


def _row(case: Judged, *, brief: bool) -> Row:
    told = Cell(case.brief if brief else case.reason)
    return Row(cells=(*_times(case), Cell(case.verdict, tone=TONES[case.verdict]), told))


def _times(case: Judged) -> tuple[Cell, ...]:
    """Return what both kinds of row begin with."""
    return (
        Cell(case.pair.name),
        _median(case.pair.before),
        _median(case.pair.after),
        number_cell(case.ratio.estimate, detail=ends(case.ratio)),
    )


def _median(seconds: Sequence[float]) -> Cell:
    return number_cell(1000 * median(seconds), detail=f"({len(seconds)})")


def _ratio(ratio: Interval) -> str:
    return f"{number(ratio.estimate)} {ends(ratio)}".rstrip()


def unpaired_table(cases: Sequence[Unpaired]) -> Table:
    """Return the cases that cannot be compared, and why; a table without a row where each can."""
    return Table(
        caption="Not compared: there is no time of it in one of the runs",
        columns=("case", "no time in", "why"),
        rows=tuple(Row(cells=(Cell(one.name), Cell(one.run), Cell(one.reason or "not in that run"))) for one in cases),
        prose=True,
    )
