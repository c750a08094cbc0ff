"""Comparison: which cases became faster or slower between two runs, and where that cannot be told.

A case is called faster or slower only if three things hold: the rank test finds a difference after it was corrected for
the number of cases tested at once, the difference is over a noise threshold, and it is not explained by times that
drift within a run. It is the same only if the whole interval of the ratio is within the threshold. All else is "can't
tell", and the reason says what is missing. So a comparison errs towards saying nothing, and silence is no proof:

    too few samples for any difference to be significant   can't tell     left out of the correction
    significant, drift within a run as large as half of it can't tell
    significant, ratio over the threshold                  faster, slower
    interval of the ratio within the threshold             same           significant or not
    significant, may be over the threshold or under        can't tell
    not significant, wide interval                         can't tell

The correction is Benjamini and Hochberg's (1995): of the cases that are called different at most one in twenty is not,
on average, and where none is different the chance of calling any so is one in twenty. The stricter Holm would ask p for
a factor of as many cases, and with a handful of rounds nothing reaches that.

What no test can see: a step between two runs, such as another clock rate or a neighbour that moved in. It changes all
cases alike, which is pointed out; who wants to be sure measures both in turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from albench.analysis.rank_test import fewest_samples, rank_p, ratio_interval, smallest_p, times, trend
from albench.analysis.statistics import UNKNOWN, Interval, mean_interval
from albench.errors import UsageError

Verdict = Literal["faster", "slower", "same", "can't tell"]
VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "can't tell", "same")
"""In the order in which a reader wants to see them."""

SIGNIFICANCE = 0.05
"""One wrong call in twenty, the usual."""
NOISE = 0.03
"""Two runs of one program differ by this much for reasons that nobody meant, such as where memory lies (Mytkowicz et
al., 2009, saw up to 8 %), even where the difference is significant. `--noise` sets another."""
DRIFT_SHARE = 0.5
"""A drift within a run that is half as large as the difference between the runs may well be all of it: what a run
drifts in its own time it may have drifted once more between the runs."""
ALIKE_CASES = 4
"""Cases that must have moved alike before it is called a pattern."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One case in two runs."""

    key: str
    """What makes it the same case."""
    name: str
    """What a person calls it."""
    before: tuple[float, ...]
    """Seconds in run A, in the order in which they were measured."""
    after: tuple[float, ...]
    """Seconds in run B."""
    objection: str = ""
    """Why the two must not be compared, such as another number of lanes; empty where they may."""

    def __post_init__(self) -> None:
        """Refuse what cannot be times."""
        for samples in (self.before, self.after):
            times(samples)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What is said of one case."""

    pair: Pair
    ratio: Interval
    """Time in B over time in A: above 1 is slower."""
    p: float
    """Of the rank test alone; NaN where none was made."""
    adjusted_p: float
    """Corrected for all cases that were tested."""
    verdict: Verdict
    reason: str
    """Why, in words, and what would decide it."""
    brief: str
    """Why, in a few words, for a table of one line a case."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is said of two runs."""

    cases: tuple[Judged, ...]
    """In the order of `VERDICTS`, the largest change first."""
    mean: Interval
    """Geometric mean of the ratios, and where the mean over more cases of this kind would lie: Student's t over the
    cases' logarithms. Cases that differ widely make it wide, however well each is known."""
    noise: float
    """The threshold that was used, a share."""
    notes: tuple[str, ...] = ()
    """What a reader should know of all cases together."""

    def count(self, verdict: Verdict) -> int:
        """Return how many cases have this verdict."""
        return sum(case.verdict == verdict for case in self.cases)


def compare(pairs: Sequence[Pair], *, noise: float = NOISE, significance: float = SIGNIFICANCE) -> Comparison:
    """Compare run B with run A, case by case."""
    if not 0 <= noise < 1:
        raise UsageError(f"noise is {noise}: give a share of at least 0 and below 1, such as {NOISE}")
    if not 0 < significance < 1:
        raise UsageError(f"significance is {significance}: give a number between 0 and 1, such as {SIGNIFICANCE}")
    tested = [pair for pair in pairs if not _untestable(pair, significance)]
    raw = [rank_p(pair.before, pair.after) for pair in tested]
    found = {id(pair): both for pair, both in zip(tested, zip(raw, _adjusted(raw), strict=True), strict=True)}
    judge = _Judge(noise=noise, significance=significance, tested=len(tested))
    judged = [judge.judged(pair, *found.get(id(pair), (math.nan, math.nan))) for pair in pairs]
    judged.sort(key=lambda case: (VERDICTS.index(case.verdict), -abs(math.log(case.ratio.estimate)), case.pair.name))
    ratios = [case.ratio.estimate for case in judged if not case.pair.objection]
    return Comparison(cases=tuple(judged), mean=geometric_mean(ratios), noise=noise, notes=tuple(_notes(ratios, noise)))


def geometric_mean(ratios: Sequence[float]) -> Interval:
    """Return the geometric mean of ratios with its interval; unknown of none, and of one without confidence."""
    if not ratios:
        return UNKNOWN
    logs = mean_interval([math.log(ratio) for ratio in ratios])
    return Interval(math.exp(logs.estimate), _exp(logs.low), _exp(logs.high), logs.confidence)


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """The table at the head of this file."""

    noise: float
    significance: float
    tested: int

    def judged(self, pair: Pair, p: float, adjusted_p: float) -> Judged:
        ratio = ratio_interval(pair.before, pair.after)
        verdict, reason, brief = self._verdict(pair, ratio, p, adjusted_p)
        return Judged(pair=pair, ratio=ratio, p=p, adjusted_p=adjusted_p, verdict=verdict, reason=reason, brief=brief)

    def _verdict(self, pair: Pair, ratio: Interval, p: float, adjusted_p: float) -> tuple[Verdict, str, str]:
        """Return the verdict and its reason, at length and in a few words."""
        if pair.objection:
            return "can't tell", pair.objection, "ran otherwise"
        if untestable := _untestable(pair, self.significance):
            return "can't tell", untestable, "too few rounds"
        within = f"within the noise threshold of {100 * self.noise:g} %"
        bound = 1 + self.noise
        significant = adjusted_p <= self.significance
        if significant:
            drift = self._drift(pair, ratio.estimate)
            if drift:
                return "can't tell", drift, "drifts"
            told = f"p = {_p(adjusted_p)}"
            if ratio.estimate > bound:
                return "slower", told, told
            if ratio.estimate < 1 / bound:
                return "faster", told, told
        if ratio.low >= 1 / bound and ratio.high <= bound:
            return "same", f"{'different, and ' if significant else ''}{within}", f"within {100 * self.noise:g} %"
        if significant:
            why = f"different (p = {_p(adjusted_p)}), but by less or more than the noise threshold"
            return "can't tell", why, "near the threshold"
        if p <= self.significance:
            why = f"p = {_p(p)} alone is {_p(adjusted_p)} among {self.tested} cases: measure more rounds"
            return "can't tell", why, "weak, many cases"
        why = f"p = {_p(p)}, and the interval is wider than the noise threshold: measure more rounds"
        return "can't tell", why, "wide interval"

    def _drift(self, pair: Pair, ratio: float) -> str:
        """Return that a run's own drift may explain the difference; empty where it does not."""
        for run, samples in (("A", pair.before), ("B", pair.after)):
            factor = trend(samples, self.significance)
            if factor != 1 and abs(math.log(factor)) >= DRIFT_SHARE * abs(math.log(ratio)):
                return f"times drift by a factor of {factor:.3g} within {run}: let the machine settle, and measure anew"
        return ""


def _untestable(pair: Pair, significance: float) -> str:
    """Return why a pair is not tested at all; empty where it is."""
    if pair.objection:
        return pair.objection
    if smallest_p(len(pair.before), len(pair.after)) <= significance:
        return ""
    return (
        f"{len(pair.before)} and {len(pair.after)} samples can never differ significantly: "
        f"measure {fewest_samples(significance)} or more of each"
    )


def _adjusted(values: list[float]) -> list[float]:
    """Return p values corrected for their number."""
    if not values:
        return []
    from scipy import stats  # its import takes longer than a short command

    return [float(value) for value in stats.false_discovery_control(values, method="bh")]


def _notes(ratios: Sequence[float], noise: float) -> list[str]:
    """Return that all cases moved alike, where they did."""
    if len(ratios) < ALIKE_CASES:
        return []
    low, high = min(ratios), max(ratios)
    moved = low > 1 + noise or high < 1 / (1 + noise)
    if not moved or high / low > 1 + 2 * noise:
        return []
    return [
        f"all {len(ratios)} cases moved alike, by factors of {low:.3g} to {high:.3g}: so do a clock rate and a load, "
        "measure A and B in turns before you blame the code"
    ]


def _p(value: float) -> str:
    return "under 0.001" if value < 0.001 else f"{value:.2g}"


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf  # two cases that differ can make an interval without end
