"""Intervals: what a handful of repeated measurements can and cannot say.

A time is told as a median, because measured times err upward (a page fault, another process) and a median does not
follow one bad round. Its interval comes from order statistics alone: how many of m samples fall below the true median
is binomial(m, ½), whatever the distribution of the times is. An accuracy over seeds has no such tail, and there are few
seeds, so it is told as a mean with Student's t.

Every interval carries the confidence that it really has. Where there are too few samples for the confidence asked for
(five samples cannot give a 95 % interval of a median: all five lie on the same side of it in 1 of 16 experiments),
the widest interval that the samples have is returned, and its `confidence` says what it is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # not scipy.stats, whose import takes longer than a short command

from albench.errors import UsageError

CONFIDENCE = 0.95
"""The usual 95 %: every interval of a report means the same thing."""

RESAMPLES = 9999
"""Bootstrap resamples: the ends of a 95 % interval then vary by a few per cent of its width from seed to seed."""
MILD_RANGES, SEVERE_RANGES = 1.5, 3.0
"""Tukey's fences, in quartile ranges: of a normal law 0.7 % of all samples are outliers, 2 in a million severe."""


@dataclass(frozen=True)
class Interval:
    """An estimate between two bounds; NaN in all three where the numbers could not tell it."""

    estimate: float
    low: float
    high: float
    confidence: float = CONFIDENCE
    """How often an interval made this way holds the true value; under what was asked for where samples were too few."""


UNKNOWN = Interval(math.nan, math.nan, math.nan, 0.0)
"""What is said of a number that the measurements do not determine."""


def median_interval(samples: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return the median and the narrowest symmetric pair of order statistics that holds it with `confidence`.

    With m sorted samples, [x_(j), x_(m+1-j)] misses the median with probability 2·P(Binomial(m, ½) < j). Fewer than six
    samples never reach 95 %: then the interval is all of them, [min, max], and `confidence` is what they have.
    """
    values = np.sort(_checked(samples, confidence))
    m = values.size
    misses_by_rank = 2 * special.bdtr(np.arange(m // 2), m, 0.5)  # entry j-1 belongs to the pair of rank j
    rank = max(1, int(np.count_nonzero(misses_by_rank <= 1 - confidence)))
    reached = float(1 - misses_by_rank[rank - 1]) if m > 1 else 0.0
    return Interval(float(np.median(values)), float(values[rank - 1]), float(values[m - rank]), reached)


def mean_interval(samples: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean with its Student-t interval; one sample says nothing of the spread and has confidence 0."""
    values = _checked(samples, confidence)
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, mean, mean, 0.0)
    quantile = float(special.stdtrit(values.size - 1, (1 + confidence) / 2))
    half_width = quantile * float(values.std(ddof=1)) / math.sqrt(values.size)
    return Interval(mean, mean - half_width, mean + half_width, confidence)


def proportion_interval(hits: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return hits / trials with the interval of Clopper and Pearson (1934), which is never less sure than it says.

    Its ends are the chances at which so many hits, or so few, are just as unlikely as the confidence allows. Of no
    trials nothing is known: the interval is all of [0, 1].
    """
    if not 0 <= hits <= trials:
        raise UsageError(f"{hits} hits in {trials} trials: give at least 0 hits, and no more than trials")
    _check_confidence(confidence)
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(hits, trials - hits + 1, tail)) if hits else 0.0
    high = float(special.betaincinv(hits + 1, trials - hits, 1 - tail)) if hits < trials else 1.0
    return Interval(hits / trials if trials else math.nan, low, high, confidence)


def bootstrap_interval(
    samples: ArrayLike, confidence: float = CONFIDENCE, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the median and its percentile bootstrap interval, drawn with a generator of its own seeded by `seed`.

    Narrower than the order statistics of `median_interval` and no law of theirs: use it where samples are many. The
    percentile is taken and not BCa, whose acceleration comes from a jackknife, and the jackknife of a median does not
    converge (Efron & Tibshirani, 1993, chapter 11). Medians of resamples never leave [min, max], so an interval of few
    samples has at most the confidence of that pair, and says so.
    """
    values = _checked(samples, confidence)
    estimate, reachable = float(np.median(values)), 1 - 0.5 ** (values.size - 1)
    if np.ptp(values) == 0:  # nothing to draw from, which scipy warns of
        return Interval(estimate, estimate, estimate, min(confidence, reachable))
    from scipy import stats

    found = stats.bootstrap(
        (values,),
        np.median,
        confidence_level=confidence,
        n_resamples=resamples,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(estimate, float(found.low), float(found.high), min(confidence, reachable))


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """How many samples lie far from the others, by Tukey's fences; they are counted, and never dropped.

    A measured time is far off because something happened, and what happened may belong to what is measured.
    """

    severe_low: int
    mild_low: int
    mild_high: int
    severe_high: int

    @property
    def mild(self) -> int:
        """Beyond 1.5 quartile ranges of the nearer quartile, and not severe."""
        return self.mild_low + self.mild_high

    @property
    def severe(self) -> int:
        """Beyond 3 quartile ranges of the nearer quartile."""
        return self.severe_low + self.severe_high


def outliers(samples: ArrayLike) -> Outliers:
    """Count the samples beyond Tukey's fences (Tukey, 1977): 1.5 quartile ranges are mild, 3 severe."""
    values = _checked(samples, CONFIDENCE)
    first, third = np.percentile(values, (25, 75))
    spread = third - first

    def beyond(ranges: float) -> tuple[int, int]:
        low, high = first - ranges * spread, third + ranges * spread
        return int(np.count_nonzero(values < low)), int(np.count_nonzero(values > high))

    (low, high), (severe_low, severe_high) = beyond(MILD_RANGES), beyond(SEVERE_RANGES)
    return Outliers(
        severe_low=severe_low, mild_low=low - severe_low, mild_high=high - severe_high, severe_high=severe_high
    )


def relative_half_width(interval: Interval, confidence: float = CONFIDENCE) -> float:
    """Return half the width over the estimate; infinite where the interval does not have `confidence`.

    A rule that stops measuring at a narrow interval must not be fooled by a single sample, whose width is zero.
    Pass `confidence=0` for the plain number.
    """
    if interval.confidence < confidence or interval.estimate == 0:
        return math.inf
    return (interval.high - interval.low) / 2 / abs(interval.estimate)


def _checked(samples: ArrayLike, confidence: float) -> NDArray[np.float64]:
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise UsageError(f"samples have shape {values.shape}: give a list of at least one number")
    if not np.isfinite(values).all():
        raise UsageError(f"samples hold {values[~np.isfinite(values)][0]}: give finite numbers only")
    _check_confidence(confidence)
    return values


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}: give a number between 0 and 1, such as {CONFIDENCE}")
