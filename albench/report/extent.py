"""Extent: how much of a large set of records a report spells out, so that a page stays one that a browser opens.

Fifty thousand records may be one kind of work or five hundred. Every one counts in the headline and has its place in
``summary.csv``; a section with figures of its own have the kinds of work that were measured most, a line in a table the
others. Of a long table the first rows are shown, and its note says how many there are. Nothing is left out in silence,
and sets of the usual size are not cut at all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from albench.report.accuracy import depth_gap
from albench.report.answers import accuracy_sentence, answers
from albench.report.contest_tables import MARKS
from albench.report.contest_words import contest_answer
from albench.report.contests import Contest
from albench.report.findings import Findings
from albench.report.regimes import Regime, Series
from albench.report.tables import Cell, Row, Table, shortened
from albench.report.words import counted

SECTIONS_SHOWN = 5
"""Kinds of work, and contests, that have a section with figures: three figures or four each, half a second and a tenth
of a megabyte a figure."""
PAGE_ROWS = 2400
"""Rows that the tables which grow with the number of points have on a page together; a row takes some 700 bytes."""
FEWEST_ROWS = 60
"""Rows that such a table has at least."""
LISTED = 50
"""Scenarios of a remark, and remarks, that are spelt out on the page."""
SERIES_SHOWN = 32
"""Series of a section: more colours than anyone tells apart, and the longest legend that leaves a figure its room."""
CONTENDERS_SHOWN = 60
"""Contenders of a contest, a row each in its figure, which is a screen and a half high then."""
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
        regimes=tuple(_fewer_series(regime) for regime in findings.regimes if regime.work in works),
        contests=tuple(map(_fewer_standings, shown_contests)),
        accuracies=tuple(
            accuracy
            if len(accuracy.series) <= SERIES_SHOWN
            else dataclasses.replace(accuracy, series=accuracy.series[:SERIES_SHOWN])
            for accuracy in findings.accuracies
            if accuracy.work in works | alone
        ),
        learning=tuple(
            dataclasses.replace(one, curves=one.curves[:SERIES_SHOWN])
            for one in findings.learning
            if one.work in works | alone
        ),
        resources=tuple(one for one in findings.resources if one.work in works),
    )
    rest = dataclasses.replace(
        findings,
        regimes=tuple(regime for regime in sweeps if regime.work not in works),
        contests=tuple(contest for contest in contests if id(contest) not in own_section),
        accuracies=tuple(one for one in findings.accuracies if one.work not in works | alone),
        learning=(),
        resources=(),
    )
    return shown, rest


def left_out_words(findings: Findings, shown: Findings) -> list[str]:
    """Say which sections show fewer series or contenders than were measured."""
    series = {regime.work: len(regime.everything) for regime in findings.regimes}
    cut = [
        f"{regime.title}: {counted(len(regime.everything), 'series', '')} of {series[regime.work]} are shown, the "
        "fastest at the deepest network; summary.csv has all."
        for regime in shown.regimes
        if len(regime.everything) < series[regime.work]
    ]
    places = {(one.work, one.hidden_layers, one.minibatches): len(one.standings) for one in findings.contests}
    for contest in shown.contests:
        count = places[contest.work, contest.hidden_layers, contest.minibatches]
        if len(contest.standings) < count:
            cut.append(
                f"{contest.title}: {counted(len(contest.standings), 'contender')} of {count} are shown, those that "
                "train most in a second; baselines.csv has all."
            )
    return cut


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


def _fewer_series(regime: Regime) -> Regime:
    """Return the regime with its fastest series, where it has more than a figure can show."""
    if len(regime.series) <= SERIES_SHOWN:
        return regime
    compared = {name for one in regime.comparisons for name in (one.al, one.bp)}

    def rank(series: Series) -> tuple[bool, float]:
        deepest = series.shown(series.depths[-1], regime.minibatches)
        kept = series is regime.baseline or series.name in compared
        return not kept, deepest.milliseconds.estimate if deepest else math.inf

    fastest = {series.name for series in sorted(regime.series, key=rank)[:SERIES_SHOWN]}
    return dataclasses.replace(
        regime,
        series=tuple(series for series in regime.series if series.name in fastest),
        projected=regime.projected[: SERIES_SHOWN // 4],
    )


def _fewer_standings(contest: Contest) -> Contest:
    """Return the contest with its fastest contenders and the best of each side, where it has more than is readable."""
    if len(contest.standings) <= CONTENDERS_SHOWN:
        return contest
    best = {one.name for side in MARKS if (one := contest.best(side))}
    measures = {one.name for way in contest.standings if (one := contest.one_lane_beside(way.engine))}
    return dataclasses.replace(
        contest,
        standings=tuple(
            one
            for place, one in enumerate(contest.standings)
            if place < CONTENDERS_SHOWN or one.name in best or one.name in measures
        ),
    )


def _most(sections: Sequence[T], size: Callable[[T], int]) -> list[T]:
    """Return the largest sections, in their own order."""
    largest = sorted(range(len(sections)), key=lambda place: (-size(sections[place]), place))[:SECTIONS_SHOWN]
    return [sections[place] for place in sorted(largest)]
