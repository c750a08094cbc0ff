"""Tables: one plain table type that the page, the Markdown and the terminal all print.

A cell has a text, and perhaps a detail that is printed smaller (an interval, a unit). The first column names the row. A
table is built once from findings, so the three outputs hold the same words and numbers. Where the text is a number, the
cell holds that number too: the page sorts by it, not by its digits.
"""

from __future__ import annotations

import dataclasses
import html
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table as RichTable
from rich.text import Text

from albench.report.words import counted, number

LONGEST_NUMBER = 40
"""Characters of the longest text that is still set as a number is: in one line, to the right."""
NO_CELL = "–"
"""What stands where there is no number."""


@dataclass(frozen=True)
class Cell:
    """One cell."""

    text: str
    detail: str = ""
    tone: str = ""
    """"good", "part", "bad" or "open" where the cell is a verdict."""
    value: float | None = None
    """The number that the text stands for, an interval's estimate; None where it stands for none."""

    @property
    def plain(self) -> str:
        """Text and detail in one line."""
        return f"{self.text} {self.detail}".rstrip()

    @property
    def is_prose(self) -> bool:
        """Whether it is a sentence among numbers, which the page breaks into lines and sets to the left."""
        return len(self.text) > LONGEST_NUMBER

    @property
    def key(self) -> str:
        """The number as a script reads it, to nine digits; empty where there is none."""
        if self.value is None or math.isnan(self.value):
            return ""
        return f"{self.value:.9g}".replace("inf", "Infinity")


def number_cell(value: float | None, show: Callable[[float], str] = number, detail: str = "") -> Cell:
    """Return a cell of a number; a dash where there is none."""
    return Cell(NO_CELL) if value is None else Cell(show(value), detail, value=value)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row; the first cell is its name."""

    cells: tuple[Cell, ...]
    projected: bool = False
    """Whether the numbers were projected, not measured; the page sets such rows apart."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a caption."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""
    """A sentence under the table."""
    prose: bool = False
    """Whether the cells are words, not numbers: set to the left."""


def shortened(table: Table, most: int, *, rest: str, of: int | None = None) -> Table:
    """Return the table with its first `most` rows, its note saying how many there are; `rest` says where all are.

    `of` is how many there are where the table was not made with all of them.
    """
    count = of or len(table.rows)
    if count <= most:
        return table
    note = f"The first {counted(most, 'row')} of {counted(count, 'row')}: {rest}."
    return dataclasses.replace(table, rows=table.rows[:most], note=f"{table.note} {note}".strip())


def markdown_text(text: str) -> str:
    """Return `text` so that Markdown prints it as it stands, in one line: no tags, links, emphasis or cell borders."""
    escaped = html.escape(" ".join(text.splitlines()), quote=False)
    for mark in "\\`*_[]|~":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


def markdown(table: Table) -> str:
    """Return the table in Markdown, its caption above and its note below."""
    lines = [f"**{markdown_text(table.caption)}**", ""]
    lines.append("| " + " | ".join(markdown_text(column) for column in table.columns) + " |")
    lines.append("|" + "|".join([" :--- ", *[" :--- " if table.prose else " ---: "] * (len(table.columns) - 1)]) + "|")
    lines += ["| " + " | ".join(markdown_text(cell.plain) for cell in row.cells) + " |" for row in table.rows]
    if table.note:
        lines += ["", markdown_text(table.note)]
    return "\n".join(lines) + "\n"


TERMINAL_STYLES = {"good": "green", "part": "yellow", "bad": "red", "open": "dim"}
"""Colours of verdicts in a terminal; the word beside the colour says the same."""


def _printable(text: str) -> str:
    """Return `text` without control characters, which would command the terminal instead of being shown."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)


def terminal(table: Table) -> RichTable:
    """Return the table for a terminal; texts are printed as they stand, never read as markup."""
    shown = RichTable(title=Text(table.caption), caption=Text(table.note) if table.note else None, title_justify="left")
    for i, column in enumerate(table.columns):
        shown.add_column(Text(column), justify="right" if i and not table.prose else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(
            *[Text(_printable(cell.plain), style=TERMINAL_STYLES.get(cell.tone, "")) for cell in row.cells],
            style="italic" if row.projected else "",
        )
    return shown
