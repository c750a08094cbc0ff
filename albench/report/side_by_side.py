"""Side by side: two runs, A and B, on one page: what differs around them, then what each says, line beside line.

A difference in time is claimed only where the comparison of `albench compare` claims it. On another machine every time
is another one and nothing has changed: there the times stand in two columns with their ratio, and no word beside them.
Nothing else is claimed at all: verdicts and accuracies stand beside each other for the reader to look at.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from albench.analysis.comparison import Comparison, Verdict, compare
from albench.errors import UsageError
from albench.harness.control import without_controls
from albench.harness.records import FILE_NAME, Record
from albench.harness.run_pair import RunPair, match_runs
from albench.harness.suites import SUITES
from albench.harness.sweep_log import SweepEnd
from albench.report.accuracy import Accuracy, AccuracyPoint
from albench.report.answers import TONES
from albench.report.comparison import cases_table, surroundings_table, times_table, unpaired_table
from albench.report.findings import Findings, find
from albench.report.grouping import titles_of
from albench.report.regimes import Regime, Series, Work, scaled
from albench.report.tables import NO_CELL, Cell, Row, Table, number_cell, shortened
from albench.report.tabulation import interval_cell
from albench.report.words import counted, ends, listed, number, percent, points, times

TOML = ".toml"
ROWS_SHOWN = 1000
"""Rows of a table: a page with two such tables stays under a megabyte."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two runs."""

    name: str
    """"A" or "B"."""
    source: str
    """Where its records are, as it was typed."""
    findings: Findings

    @property
    def commands(self) -> tuple[str, ...]:
        """What measures it again and what shows it alone, as far as the records know."""
        orders = self.findings.order_seeds
        order = f" --order-seed {orders[0]}" if len(orders) == 1 and orders[0] else ""
        place = Path(self.source)
        folder = str(place.parent if place.name == FILE_NAME else place)
        source, kept_in = shlex.quote(self.source), shlex.quote(folder)
        benchmark = self.source.endswith(".json")
        sweeps = []
        for suite in self.findings.suites:
            if suite.endswith(".py"):  # a file of tests
                kept = "--benchmark-json" if benchmark else "--albench-records"
                sweeps.append(f"pytest {shlex.quote(suite)} --benchmark-only {kept} {kept_in}")
            else:
                sweeps.append(f"albench run {shlex.quote(self._run_name(suite))}{order} --out {kept_in}")
        return (*sweeps, f"albench report {'--from-benchmark ' if benchmark else ''}{source}")

    @property
    def own_suites(self) -> tuple[str, ...]:
        """The TOML files that are among its suites: they are not albench's, and lie where they were written."""
        return tuple(name for suite in self.findings.suites if (name := self._run_name(suite)).endswith(TOML))

    @staticmethod
    def _run_name(suite: str) -> str:
        """Return what ``albench run`` takes for a suite: a name of albench's, or a file; old records hold its stem."""
        known = suite in SUITES or suite.endswith((TOML, ".py"))
        return suite if known else f"{suite}{TOML}"


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Two runs, matched case by case."""

    before: Side
    after: Side
    pair: RunPair
    comparison: Comparison

    @property
    def sides(self) -> tuple[Side, Side]:
        """A, then B."""
        return self.before, self.after

    @property
    def comparable(self) -> bool:
        """Whether a difference may be a change: all times are of one machine."""
        return self.pair.one_machine


def side_by_side(
    before: tuple[str, Sequence[Record], Sequence[SweepEnd]], after: tuple[str, Sequence[Record], Sequence[SweepEnd]]
) -> SideBySide:
    """Put two runs beside each other, each given as its source, its records and how its sweeps ended.

    A run without a record is a `UsageError`; one in which everything failed is not, nor are two without a common case.
    """
    sides = []
    for name, (source, records, sweep_ends) in (("A", before), ("B", after)):
        if not without_controls(records):
            raise UsageError(f"{source} holds no measured record: give the directory of another run for {name}")
        sides.append(Side(name=name, source=source, findings=find(records, sweep_ends)))
    pair = match_runs(before[1], after[1])
    return SideBySide(before=sides[0], after=sides[1], pair=pair, comparison=compare(pair.pairs))


def pair_headline(both: SideBySide) -> str:
    """Return the whole answer in a sentence."""
    without = [side for side in both.sides if not side.findings.measured]
    if without:
        told = " and ".join(f"{side.name} ({_failed(side)})" for side in without)
        return f"Nothing was measured in {told}, so there is nothing to compare."
    if not both.pair.pairs:
        first, second = both.pair.cases
        return (
            f"A and B have no timed case in common ({counted(first, 'case')} in A, {second} in B): they stand side by "
            "side, not compared."
        )
    count = counted(len(both.pair.pairs), "case")
    if not both.comparable:
        return f"A and B ran on different machines, so the times of the {count} that both timed are not a change."
    untold = both.comparison.count("can't tell")
    if untold == len(both.pair.pairs):
        return f"Of {count} that both timed, it can be told of none whether B is faster or slower."
    words: dict[Verdict, str] = {"slower": "slower", "faster": "faster", "same": "as fast"}
    parts = [f"{word} in {both.comparison.count(verdict)}" for verdict, word in words.items()]
    end = f"; in {untold} it cannot be told" if untold else ""
    return f"Of {count} that both timed, B is {listed(parts)}{end}."


def mean_words(both: SideBySide) -> str:
    """Return the mean ratio over the cases that both timed; empty where there is none."""
    mean = both.comparison.mean
    if math.isnan(mean.estimate):
        return ""
    interval = f" {ends(mean)}" if mean.confidence else " (one case has no interval)"
    return f"The geometric mean of B / A is {number(mean.estimate)}{interval}."


def machine_words(both: SideBySide) -> str:
    """Say on which machines the two runs were measured."""
    first, second = (listed(found) if found else "no machine that is known" for found in both.pair.machines)
    return f"Both ran on {first}." if first == second else f"A ran on {first}; B ran on {second}."


def surroundings(both: SideBySide) -> Table | None:
    """Return what differs around the two runs; None where nothing that a time depends on does."""
    return _filled(surroundings_table(both.pair))


def times_beside(both: SideBySide, *, at_length: str = "") -> Table | None:
    """Return the times of both, with the comparison's word where they may be compared; None without a common case."""
    if both.comparable:
        return _filled(cases_table(both.pair, both.comparison, at_length=at_length))
    return _filled(times_table(both.pair, both.comparison))


def not_compared(both: SideBySide) -> Table | None:
    """Return the cases that only one of the runs timed."""
    return _filled(unpaired_table(both.pair.unpaired))


def verdicts_beside(both: SideBySide) -> Table | None:
    """Return the verdicts of both on each series; None where neither swept anything."""
    found = [{regime.work: regime for regime in side.findings.sweeps} for side in both.sides]
    titles = _titles(found[0], found[1])
    rows = []
    for work, title in titles.items():
        series = [_series(regimes.get(work)) for regimes in found]
        for name in dict.fromkeys([*series[0], *series[1]]):
            own = [one.get(name) for one in series]
            cells = [cell for one in own for cell in _verdict(one)]
            projected = all(one.projected for one in own if one)
            rows.append(Row(cells=(Cell(name), Cell(title), *cells), projected=projected))
    return _filled(
        Table(
            caption="Verdicts side by side",
            columns=("series", "work", *[f"{side}: {what}" for side in "AB" for what in ("verdict", "cost grows")]),
            rows=tuple(rows),
            note="Product share: the share of the steady cost of the deepest network that is proportional to depth; "
            "verdicts follow from it. The steady cost grows from the shallowest to the deepest network measured. "
            "In brackets: 95 % intervals.",
        )
    )


def accuracies_beside(both: SideBySide) -> Table | None:
    """Return the held-out accuracies of both by series and depth; None where neither has any."""
    found = [{accuracy.work: accuracy for accuracy in side.findings.accuracies} for side in both.sides]
    rows = []
    for work, title in _titles(found[0], found[1]).items():
        own = [_accuracies(accuracies.get(work)) for accuracies in found]
        for name, hidden_layers in dict.fromkeys([*own[0], *own[1]]):
            first, second = (one.get((name, hidden_layers)) for one in own)
            cells = (number_cell(hidden_layers, str), _accuracy(first), _accuracy(second), _difference(first, second))
            rows.append(Row(cells=(Cell(name), Cell(title), *cells)))
    return _filled(
        Table(
            caption="Held-out accuracy side by side",
            columns=("series", "work", "ℓ", "A", "B", "B - A"),
            rows=tuple(rows),
            note="Mean over the seeds [95 % interval of the mean] after the longest run; the difference in points, "
            "where both saw as many mini-batches. No difference is claimed.",
        )
    )


def environments_beside(both: SideBySide) -> Table | None:
    """Return the environments of both, fact by fact, the commonest value of each."""
    found = [{fact.name: fact.values[0][0] for fact in side.findings.environment} for side in both.sides]
    names = dict.fromkeys([*found[0], *found[1]])
    rows = tuple(Row(cells=(Cell(name), *[Cell(one.get(name, NO_CELL)) for one in found])) for name in names)
    return _filled(Table(caption="Environments", columns=("fact", "A", "B"), rows=rows, prose=True))


def pair_tables(both: SideBySide, *, at_length: str = "") -> list[Table]:
    """Return all tables but the environments, what differs first."""
    tables = (
        surroundings(both),
        verdicts_beside(both),
        times_beside(both, at_length=at_length),
        accuracies_beside(both),
        not_compared(both),
    )
    return [table for table in tables if table is not None]


def _filled(table: Table) -> Table | None:
    """Return the table with as many rows as a page holds; None where it has none."""
    return shortened(table, ROWS_SHOWN, rest="the records have all") if table.rows else None


def regimes_of_both(both: SideBySide) -> list[tuple[str, Regime, Regime]]:
    """Return each kind of work that both runs swept: its title, and what A and B say of it; small work first."""
    first, second = ({regime.work: regime for regime in side.findings.sweeps} for side in both.sides)
    titles = _titles(first, second)
    return [(title, first[work], second[work]) for work, title in titles.items() if work in first and work in second]


def _titles(first: Iterable[Work], second: Iterable[Work]) -> dict[Work, str]:
    """Return the kinds of work of both runs with titles that tell them apart, small work first."""
    return titles_of(sorted({*first, *second}, key=lambda work: work.order))


def _series(regime: Regime | None) -> dict[str, Series]:
    return {series.name: series for series in regime.swept} if regime else {}


def _verdict(series: Series | None) -> tuple[Cell, Cell]:
    if series is None:
        return Cell(NO_CELL), Cell(NO_CELL)
    verdict, share = series.verdict, series.verdict.product_share
    told = f"product share {number(share.estimate)} {ends(share)}".rstrip() if math.isfinite(share.estimate) else ""
    word = Cell(verdict.complexity, told, tone=TONES[verdict.complexity], value=share.estimate)
    return word, interval_cell(verdict.growth, times)


def _accuracies(accuracy: Accuracy | None) -> dict[tuple[str, int], AccuracyPoint]:
    found = [(series, point) for series in accuracy.series for point in series.longest] if accuracy else []
    return {(series.name, point.hidden_layers): point for series, point in found}


def _accuracy(point: AccuracyPoint | None) -> Cell:
    if point is None:
        return Cell(NO_CELL)
    seen = f"N = {point.minibatches}, {counted(point.seeds, 'seed')}"
    detail = f"{ends(scaled(point.mean, 100.0))} {seen}".strip()
    return number_cell(point.mean.estimate, lambda share: percent(share, 1), detail)


def _difference(first: AccuracyPoint | None, second: AccuracyPoint | None) -> Cell:
    if first is None or second is None or first.minibatches != second.minibatches:
        return Cell(NO_CELL)
    return number_cell(second.mean.estimate - first.mean.estimate, points)


def _failed(side: Side) -> str:
    return f"{counted(len(side.findings.failures), 'scenario')} failed"
