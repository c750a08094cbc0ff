"""Extent: how much of a large set of records a report spells out, so that a page stays one that a browser opens.

Fifty thousand records may be one kind of work or five hundred. Every one counts in the headline and has its place in
``summary.csv``; a section with figures of its own have the kinds of work that were measured most, a line in a table the
others. Of a long table the first rows are shown, and its note says how many there are. Nothing is left out in silence,
and sets of the usual size are not cut at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from albench.report.accuracy import depth_gap
from albench.report.answers import accuracy_sentence, answers
from albench.report.contest_words import contest_answer
from albench.report.findings import Findings
from albench.report.tables import Cell, Row, Table, shortened

SECTIONS_SHOWN = 5
"""Kinds of work, and contests, that have a section with figures: three figures or four each, half a second and a tenth
of a megabyte a figure."""
PAGE_ROWS = 2400
"""Rows that the tables which grow with the number of points have on a page together; a row takes some 700 bytes."""
FEWEST_ROWS = 60
"""Rows that such a table has at least."""
LISTED = 50
"""Scenarios of a remark, and remarks, that are spelt out on the page."""
GROWING_TABLES = 3
"""Tables of a section that grow with its points: points, resources and pace."""

T = TypeVar("T")


def split(findings: Findings) -> tuple[Findings, Findings]:
    """Return the findings that have sections of their own, and those of all other kinds of work."""
    sweeps, contests, lone = findings.sweeps, findings.contests, findings.other_accuracies
    shown_sweeps = _most(sweeps, lambda regime: sum(len(series.points) for series in regime.series))
    shown_contests = _most(contests, lambda contest: len(contest.standings))
    shown_lone = _most(lone, lambda accuracy: sum(len(series.points) for series in accuracy.series))
    works = {regime.work for regime in shown_sweeps} | {contest.work for contest in shown_contests}
    alone = {accuracy.work for accuracy in shown_lone}
    own_section = {id(contest) for contest in shown_contests}
    shown = dataclasses.replace(
        findings,
        regimes=tuple(regime for regime in findings.regimes if regime.work in works),
        contests=tuple(shown_contests),
        accuracies=tuple(accuracy for accuracy in findings.accuracies if accuracy.work in works | alone),
        resources=tuple(one for one in findings.resources if one.work in works),
    )
    rest = dataclasses.replace(
        findings,
        regimes=tuple(regime for regime in sweeps if regime.work not in works),
        contests=tuple(contest for contest in contests if id(contest) not in own_section),
        accuracies=tuple(one for one in findings.accuracies if one.work not in works | alone),
        resources=(),
    )
    return shown, rest


def further_table(rest: Findings) -> Table | None:
    """Return the answers of the kinds of work without a section; None where each has one."""
    found = [*map(contest_answer, rest.contests), *answers(rest)]
    rows = [Row(cells=(Cell(one.title), Cell(one.word, one.caveat, tone=one.tone))) for one in found]
    timed = {regime.work for regime in rest.regimes}
    rows += [
        Row(cells=(Cell(f"{accuracy.title}, accuracy"), Cell(accuracy_sentence(accuracy, gap))))
        for accuracy in rest.accuracies
        if accuracy.work not in timed and (gap := depth_gap(accuracy))
    ]
    if not rows:
        return None
    table = Table(caption="Further kinds of work", columns=("work", "answer"), rows=tuple(rows), prose=True)
    return shortened(table, PAGE_ROWS // GROWING_TABLES, rest="summary.csv has all")


def rows_shown(shown: Findings) -> int:
    """Return how many rows a table has that grows with the number of points."""
    tables = GROWING_TABLES * (len(shown.sweeps) + len(shown.contests))
    return max(FEWEST_ROWS, PAGE_ROWS // max(1, tables))


def _most(sections: Sequence[T], size: Callable[[T], int]) -> list[T]:
    """Return the largest sections, in their own order."""
    largest = sorted(range(len(sections)), key=lambda place: (-size(sections[place]), place))[:SECTIONS_SHOWN]
    return [sections[place] for place in sorted(largest)]
