"""Rank test: whether two small samples differ, and by which factor, without a word on the law that they follow.

Times have tails, and a run has a handful of them, so Student's t is out. What is left are ranks (Mann & Whitney, 1947):
U counts the pairs (a, b) in which b is the larger, and if both samples come from one law every order of them is equally
likely. From the same counts comes the factor between them (Hodges & Lehmann, 1963): the median of b / a over all pairs,
and an interval between two of these ratios that excludes 1 where the test finds a difference. With three of each there
are 20 orders, the two most extreme of which happen in one experiment of ten: no such test can find anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # scipy.stats is imported where it is needed: it takes longer than a short command

from albench.analysis.statistics import CONFIDENCE, Interval
from albench.errors import UsageError

EXACT_SAMPLES = 20
"""Up to so many samples on either side the law of U is counted out; above it is normal within a thousandth."""
MOST_ORDERS = 20_000
"""Orders that are counted out where samples tie: C(16, 8) = 12,870 are done in a moment."""
MOST_SAMPLES = 2_000
"""Samples a side that ratios are formed of; of more, as many quantiles stand for all, which moves no ratio visibly."""


def smallest_p(first: int, second: int) -> float:
    """Return the smallest p that samples of these sizes can reach, two-sided: two orders of all."""
    return min(1.0, 2 / math.comb(first + second, first))


def fewest_samples(significance: float) -> int:
    """Return the fewest samples on either side with which a difference can be significant."""
    return next(count for count in range(2, 64) if smallest_p(count, count) <= significance)


def rank_p(first: ArrayLike, second: ArrayLike) -> float:
    """Return the two-sided p of the Mann-Whitney test: how often samples of one law differ by so much.

    Exact where both have up to `EXACT_SAMPLES`; with ties as far as their orders can be counted out.
    """
    from scipy import stats

    a, b = times(first), times(second)
    ties = np.unique(np.concatenate((a, b))).size < a.size + b.size
    if ties and math.comb(a.size + b.size, a.size) <= MOST_ORDERS:
        every_order = stats.PermutationMethod(n_resamples=MOST_ORDERS)
        return float(stats.mannwhitneyu(a, b, method=every_order).pvalue)
    exact = not ties and max(a.size, b.size) <= EXACT_SAMPLES
    return float(stats.mannwhitneyu(a, b, method="exact" if exact else "asymptotic").pvalue)


def ratio_interval(first: ArrayLike, second: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return by which factor the times of `second` are those of `first`: Hodges and Lehmann's estimate on logarithms.

    The interval is the narrowest symmetric pair of ordered ratios with `confidence`; where the samples are too few for
    it, all of them, and its `confidence` says what it is worth.
    """
    a, b = (_thinned(times(samples)) for samples in (first, second))
    sizes = len(np.atleast_1d(first)), len(np.atleast_1d(second))
    ratios = np.sort(np.subtract.outer(np.log(b), np.log(a)).ravel())
    rank, reached = _rank(*sizes, confidence)
    # Of thinned samples the pair lies at the same share of all ratios.
    low = min(ratios.size - 1, int((rank - 1) * ratios.size / (sizes[0] * sizes[1])))
    estimate, bottom, top = np.median(ratios), ratios[low], ratios[ratios.size - 1 - low]
    return Interval(float(np.exp(estimate)), float(np.exp(bottom)), float(np.exp(top)), reached)


def times(samples: ArrayLike) -> NDArray[np.float64]:
    """Return samples as an array; what cannot be a time is a `UsageError`."""
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise UsageError(f"times have shape {values.shape}: give a list of at least one number")
    wrong = values[~((values > 0) & np.isfinite(values))]
    if wrong.size:
        raise UsageError(f"times hold {wrong[0]}: give seconds above 0")
    return values


def trend(samples: Sequence[float], significance: float) -> float:
    """Return by which factor times changed from the first to the last, where they drift; 1 where no trend is seen.

    Kendall's tau decides whether there is a trend, Theil and Sen's slope of the logarithms says how steep it is. Fewer
    than five times never show one: the steadiest of four orders comes in one experiment of twelve.
    """
    from scipy import stats

    values = np.log(times(samples))
    if values.size < 3 or np.ptp(values) == 0:
        return 1.0
    places = np.arange(values.size)
    if not stats.kendalltau(places, values).pvalue <= significance:
        return 1.0
    return math.exp(float(stats.theilslopes(values, places).slope) * (values.size - 1))


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if values.size <= MOST_SAMPLES:
        return values
    return np.asarray(np.quantile(values, (np.arange(MOST_SAMPLES) + 0.5) / MOST_SAMPLES))


def _rank(first: int, second: int, confidence: float) -> tuple[int, float]:
    """Return the rank j of the pair of ratios (j-th smallest, j-th largest), and the confidence that it has.

    The pair misses the true factor where U < j or U > first·second - j.
    """
    pairs = first * second
    if max(first, second) <= EXACT_SAMPLES:
        misses_by_rank = 2 * np.cumsum(_law_of_u(first, second))[: max(1, pairs // 2)]  # entry j-1 belongs to rank j
        rank = max(1, int(np.count_nonzero(misses_by_rank <= 1 - confidence + 1e-12)))
        return rank, max(0.0, float(1 - misses_by_rank[rank - 1]))
    deviation = math.sqrt(pairs * (first + second + 1) / 12)
    rank = max(1, math.floor(pairs / 2 + 0.5 - float(special.ndtri((1 + confidence) / 2)) * deviation))
    return rank, max(0.0, float(1 - 2 * special.ndtr((rank - 0.5 - pairs / 2) / deviation)))


@lru_cache(maxsize=256)
def _law_of_u(first: int, second: int) -> NDArray[np.float64]:
    """Return the probabilities of U = 0 … first·second where both samples come from one law.

    The largest of all samples is one of `first` with probability first / (first + second), and then U counts no pair
    with it; else it is one of `second` and counts `first` pairs (Mann & Whitney, 1947, equation 1).
    """
    if first == 0 or second == 0:
        return np.ones(1)
    law = np.zeros(first * second + 1)
    law[: (first - 1) * second + 1] += first / (first + second) * _law_of_u(first - 1, second)
    law[first:] += second / (first + second) * _law_of_u(first, second - 1)
    law.setflags(write=False)  # it is shared by all who ask
    return law
