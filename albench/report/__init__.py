"""Reports: from records to a page, figures, Markdown, comma-separated values and tables for the terminal.

One way in: records become findings (`find`), and everything that is printed prints findings. So the page and the
terminal cannot disagree, and a number that is not in the records is nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table as RichTable

from albench.errors import UsageError
from albench.harness.records import Record
from albench.harness.sweep_log import SweepEnd
from albench.harness.whole_file import write_whole
from albench.report.answers import headline
from albench.report.contest_tables import contests_csv
from albench.report.figures import draw
from albench.report.findings import Findings, find
from albench.report.page import page_html
from albench.report.summary import summary_csv, summary_markdown, summary_tables
from albench.report.tables import terminal

__all__ = ["Findings", "find", "headline", "render", "terminal_tables"]


def render(
    records: Sequence[Record],
    out: Path,
    *,
    command: str,
    title: str | None = None,
    sweep_ends: Sequence[SweepEnd] = (),
) -> Path:
    """Write the report of `records` into the directory `out` and return the path of its ``index.html``.

    `command` is what a reader types to make it again; `sweep_ends` say why the sweeps ended. Beside the page:
    ``figures/*.svg`` and ``*.png``, ``summary.md`` and ``summary.csv``, and ``baselines.csv`` where more than AL and BP
    ran. Each file appears whole or not at all. No record at all, or a directory that cannot be written, is a
    `UsageError`.
    """
    if not records:
        raise UsageError(f"no measured record in {out}: run a suite into it first, for example `albench quickstart`")
    findings = find(records, sweep_ends)
    drawings = draw(findings)
    title = title or (f"albench {', '.join(findings.suites)}" if findings.suites else "albench report")
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        for drawing in drawings:
            write_whole(out / "figures" / f"{drawing.name}.svg", drawing.svg)
            write_whole(out / "figures" / f"{drawing.name}.png", drawing.png)
        write_whole(out / "summary.csv", summary_csv(findings))
        if findings.contests:
            write_whole(out / "baselines.csv", contests_csv(findings.contests))
        write_whole(
            out / "summary.md",
            summary_markdown(findings, drawings, command=command, title=title).encode("utf-8", "replace"),
        )
        write_whole(
            out / "index.html", page_html(findings, drawings, command=command, title=title).encode("utf-8", "replace")
        )
    except OSError as error:
        raise UsageError(
            f"the report cannot be written into {out} ({error.strerror or error}): mend that and give the same "
            "command again, or give another directory with --out"
        ) from None
    return out / "index.html"


def terminal_tables(findings: Findings) -> list[RichTable]:
    """Return the findings as tables for a terminal: standings, verdicts, times, accuracy, failures."""
    return [terminal(table) for table in summary_tables(findings)]
