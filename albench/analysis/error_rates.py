"""Error rates: how often the judge of complexity is right, wrong, or says that it cannot tell.

Counted over made-up sweeps whose law is known (`albench.analysis.made_up_sweeps`). Wrong is a verdict that is given and
is not the right one; "inconclusive" is never wrong, and never right: a judge that always abstained would make no error
and be of no use, so both are counted.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from albench.analysis.complexity import Complexity
from albench.analysis.made_up_sweeps import GRIDS, LAWS, NOISES, ROUNDS, KnownLaw, Noise, SweepGrid, judge_made_up
from albench.analysis.statistics import Interval, proportion_interval
from albench.errors import UsageError

VERDICTS: tuple[Complexity, ...] = ("O(n+ℓ)", "O(nℓ)", "O(nℓ/K)", "mixed", "inconclusive")
MOST_WRONG = 0.05
"""Wrong verdicts that are borne: one in twenty, as the intervals that they rest on are wrong one time in twenty."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of made-up sweep."""

    law: KnownLaw
    grid: SweepGrid
    noise: Noise
    rounds: int

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.law.name}; {self.grid.name}; {self.noise.name}; {self.rounds}"

    def seed(self, sweep: int) -> int:
        """Return the seed of its so-many-th sweep: of its own, so that no two cases share their luck."""
        return zlib.crc32(f"{self.name}; {sweep}".encode())


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How the verdicts on the sweeps of one case fell."""

    case: Case
    counts: dict[Complexity, int]
    """Sweeps by verdict, every verdict named."""

    @property
    def truth(self) -> Complexity:
        """The right verdict."""
        return self.case.law.complexity_on(self.case.grid)

    @property
    def sweeps(self) -> int:
        """How many sweeps were judged."""
        return sum(self.counts.values())

    @property
    def right(self) -> int:
        """Sweeps that got the right verdict."""
        return self.counts[self.truth]

    @property
    def inconclusive(self) -> int:
        """Sweeps of which the judge said that it cannot tell."""
        return self.counts["inconclusive"]

    @property
    def wrong(self) -> int:
        """Sweeps that got another verdict."""
        return self.sweeps - self.right - self.inconclusive

    @property
    def wrong_rate(self) -> Interval:
        """Wrong verdicts as a share of the sweeps, with the interval of Clopper and Pearson."""
        return proportion_interval(self.wrong, self.sweeps)

    @property
    def worst(self) -> Complexity | None:
        """The wrong verdict that was given most often; None where there was none."""
        false = {verdict: self.counts[verdict] for verdict in VERDICTS if verdict not in (self.truth, "inconclusive")}
        found = max(false, key=lambda verdict: false[verdict])
        return found if false[found] else None


def cases(
    laws: Sequence[KnownLaw] = LAWS,
    grids: Sequence[SweepGrid] = GRIDS,
    noises: Sequence[Noise] = NOISES,
    rounds: Sequence[int] = ROUNDS,
) -> list[Case]:
    """Return every law on every grid, under every noise, with every number of rounds."""
    return [
        Case(law=law, grid=grid, noise=noise, rounds=count)
        for grid in grids
        for law in laws
        for noise in noises
        for count in rounds
    ]


def tally(case: Case, *, sweeps: int, first: int = 0) -> Tally:
    """Judge so many made-up sweeps of a case, the `first`-th and on, and count the verdicts."""
    if sweeps < 1:
        raise UsageError(f"sweeps is {sweeps}: give at least 1")
    found = Counter(
        judge_made_up(case.law, case.grid, case.noise, rounds=case.rounds, seed=case.seed(sweep)).complexity
        for sweep in range(first, first + sweeps)
    )
    return Tally(case=case, counts={verdict: found[verdict] for verdict in VERDICTS})


def tally_nth(place: int, sweeps: int) -> Tally:
    """Return the tally of the case in a place of `cases`: what a process that shares the work is asked for."""
    return tally(cases()[place], sweeps=sweeps)


def judged_again(found: Iterable[Tally], *, sweeps: int) -> list[Tally]:
    """Return the tallies of the cases that had any wrong verdict, over so many further sweeps.

    Of many cases some look bad by luck; sweeps that they were not chosen by say which are.
    """
    return [tally(one.case, sweeps=sweeps, first=one.sweeps) for one in found if one.wrong]


def too_often_wrong(found: Iterable[Tally]) -> list[Tally]:
    """Return the tallies in which over `MOST_WRONG` of the verdicts are wrong for certain: the whole interval is."""
    return [one for one in found if one.wrong_rate.low > MOST_WRONG]
