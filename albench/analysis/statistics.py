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
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}: give a number between 0 and 1, such as {CONFIDENCE}")
    return values
