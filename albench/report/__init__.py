"""Reports: from records to a page, figures, Markdown, comma-separated values and tables for the terminal.

One way in: records become findings (`find`), and everything that is printed prints findings. So the page and the
terminal cannot disagree, and a number that is not in the records is nowhere. Two runs become one page in the same way
(`side_by_side`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table as RichTable

from albench.errors import UsageError
from albench.harness.records import Record
from albench.harness.sweep_log import SweepEnd
from albench.report.answers import headline
from albench.report.contest_tables import contests_csv
from albench.report.extent import further_table, split
from albench.report.figures import draw
from albench.report.files import figure_files, write_files
from albench.report.findings import Findings, find
from albench.report.page import page_html
from albench.report.pair_page import pair_directory, write_pair
from albench.report.side_by_side import SideBySide, pair_headline, pair_tables, side_by_side
from albench.report.summary import summary_csv, summary_markdown, summary_tables
from albench.report.tables import Table, shortened, terminal
from albench.report.traces import NO_TRACES, Traces, traces_beside, with_traces

__all__ = [
    "NO_TRACES",
    "Findings",
    "find",
    "headline",
    "pair_directory",
    "pair_headline",
    "pair_terminal_tables",
    "render",
    "side_by_side",
    "terminal_tables",
    "traces_beside",
    "write",
    "write_pair",
]

TERMINAL_ROWS = 100
"""Rows of a table in a terminal: more scroll away before they are read."""


def render(
    records: Sequence[Record],
    out: Path,
    *,
    command: str,
    title: str | None = None,
    sweep_ends: Sequence[SweepEnd] = (),
) -> Path:
    """Write the report of `records` into the directory `out` and return the path of its ``index.html``.

    `command` is what a reader types to make it again; `sweep_ends` say why the sweeps ended. No record at all is a
    `UsageError`; for the rest see `write`.
    """
    if not records:
        raise UsageError(f"no measured record in {out}: run a suite into it first, for example `albench quickstart`")
    return write(find(records, sweep_ends), out, command=command, title=title)


def write(findings: Findings, out: Path, *, command: str, title: str | None = None, traces: Traces = NO_TRACES) -> Path:
    """Write the report of `findings` into the directory `out` and return the path of its ``index.html``.

    Beside the page: ``figures/*.svg`` and ``*.png``, ``summary.md`` and ``summary.csv``, and ``baselines.csv`` where
    more than AL and BP ran. `traces` are those that lie beside the records (`traces_beside`). Each file appears whole
    or not at all. A directory that cannot be written is a `UsageError`.
    """
    shown, _ = split(findings)
    drawings = draw(shown)
    title = title or (f"albench {', '.join(findings.suites)}" if findings.suites else "albench report")
    files: dict[str, bytes | str] = {**figure_files(with_traces(drawings, traces))}
    files["summary.csv"] = summary_csv(findings)
    if findings.contests:
        files["baselines.csv"] = contests_csv(findings.contests)
    files["summary.md"] = summary_markdown(findings, drawings, command=command, title=title, traces=traces)
    files["index.html"] = page_html(findings, drawings, command=command, title=title, traces=traces)
    write_files(out, files)
    return out / "index.html"


def terminal_tables(findings: Findings) -> list[RichTable]:
    """Return the findings as tables for a terminal: standings, verdicts, times, accuracy, failures."""
    shown, rest = split(findings)
    return _terminal([*summary_tables(shown), further_table(rest)])


def pair_terminal_tables(both: SideBySide) -> list[RichTable]:
    """Return two runs side by side as tables for a terminal, what differs around them first."""
    return _terminal(pair_tables(both, at_length="on the page"))


def _terminal(tables: Sequence[Table | None]) -> list[RichTable]:
    return [terminal(shortened(table, TERMINAL_ROWS, rest="the page has more")) for table in tables if table]
