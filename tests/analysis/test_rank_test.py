"""The rank test and its ratio, against scipy, against counting, and against simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from albench.analysis.rank_test import (
    _law_of_u,
    fewest_samples,
    rank_p,
    ratio_interval,
    smallest_p,
    trend,
)
from albench.errors import UsageError

seconds = st.floats(1e-6, 1e6)


def test_the_law_of_u_is_that_of_all_orders():
    """Every order of three and four samples, counted by hand."""
    first, second = 3, 4
    counts = np.zeros(first * second + 1)
    for places in itertools.combinations(range(first + second), first):
        others = [i for i in range(first + second) if i not in places]
        counts[sum(b > a for a in places for b in others)] += 1
    np.testing.assert_allclose(_law_of_u(first, second), counts / counts.sum())
    assert _law_of_u(20, 20).sum() == pytest.approx(1)


@pytest.mark.parametrize(("first", "second"), [(2, 5), (4, 4), (6, 9), (20, 20), (30, 25)])
def test_p_is_scipys(first, second):
    generator = np.random.default_rng(first)
    a, b = generator.lognormal(size=first), generator.lognormal(0.3, size=second)
    method = "exact" if max(first, second) <= 20 else "asymptotic"
    assert rank_p(a, b) == pytest.approx(stats.mannwhitneyu(a, b, method=method).pvalue)


def test_p_of_ties_is_counted_out():
    """All 20 orders of 1, 1, 2, 2, 2, 3, each as likely as the other."""
    a, b = [1.0, 1.0, 2.0], [2.0, 2.0, 3.0]
    pool = a + b
    observed = sum((y > x) + 0.5 * (y == x) for x in a for y in b)
    values = []
    for places in itertools.combinations(range(6), 3):
        one, other = [pool[i] for i in places], [pool[i] for i in range(6) if i not in places]
        values.append(sum((y > x) + 0.5 * (y == x) for x in one for y in other))
    expected = 2 * min(np.mean(np.array(values) >= observed), np.mean(np.array(values) <= observed))
    assert rank_p(a, b) == pytest.approx(min(1.0, expected))
    assert rank_p([1.0] * 6, [1.0] * 6) == 1, "equal times are no difference"


def test_smallest_p_is_reached_by_samples_that_are_apart_and_by_no_others():
    for count in (2, 3, 4, 6):
        low, high = np.arange(1.0, count + 1), np.arange(10.0, 10 + count)
        assert rank_p(low, high) == pytest.approx(smallest_p(count, count))
    assert [fewest_samples(s) for s in (0.2, 0.05, 0.01)] == [3, 4, 5]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(a=st.lists(seconds, min_size=1, max_size=9), b=st.lists(seconds, min_size=1, max_size=9))
def test_the_ratio_is_a_median_of_ratios_and_turns_round(a, b):
    ratio, back = ratio_interval(a, b), ratio_interval(b, a)
    assert ratio.low <= ratio.estimate * (1 + 1e-9)
    assert ratio.estimate <= ratio.high * (1 + 1e-9)
    logs = [math.log(y) - math.log(x) for x in a for y in b]
    assert ratio.estimate == pytest.approx(math.exp(np.median(logs)))
    assert (1 / back.high, 1 / back.low) == (pytest.approx(ratio.low), pytest.approx(ratio.high))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data(), first=st.integers(4, 9), second=st.integers(4, 9))
def test_the_interval_excludes_1_exactly_where_the_test_finds_a_difference(data, first, second):
    generator = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    a, b = generator.lognormal(sigma=0.1, size=first), generator.lognormal(0.12, 0.1, size=second)
    interval = ratio_interval(a, b)
    assert (interval.low > 1 or interval.high < 1) == (rank_p(a, b) <= 0.05)


@pytest.mark.parametrize("sizes", [(5, 5), (8, 14), (25, 30)])
def test_the_interval_covers_the_true_ratio_as_often_as_it_says(sizes):
    generator = np.random.default_rng(0)
    hits, worth = 0, 0.0
    for _ in range(1500):
        a = generator.lognormal(0, 0.3, sizes[0])
        interval = ratio_interval(a, 1.1 * generator.lognormal(0, 0.3, sizes[1]))
        hits += interval.low <= 1.1 <= interval.high
        worth = interval.confidence
    assert hits / 1500 == pytest.approx(worth, abs=0.015)
    assert worth == pytest.approx(0.96, abs=0.012)


def test_too_few_samples_say_what_their_interval_is_worth():
    assert ratio_interval([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]).confidence == pytest.approx(0.9)
    assert ratio_interval([1.0], [2.0]).confidence == 0


def test_many_samples_give_the_same_as_their_quantiles():
    """Of ten thousand times a hundred million ratios are not formed."""
    generator = np.random.default_rng(5)
    a, b = generator.lognormal(0, 0.2, 10_000), 1.05 * generator.lognormal(0, 0.2, 9_000)
    interval = ratio_interval(a, b)
    few = ratio_interval(a[:2000], b[:2000])
    assert interval.low < 1.05 < interval.high
    assert interval.estimate == pytest.approx(1.05, abs=0.005)
    assert (interval.high - interval.low) / (few.high - few.low) == pytest.approx(math.sqrt(2000 / 9474), rel=0.1)
    assert rank_p(a, b) < 1e-9


def test_trends_are_seen_where_there_are_enough_times():
    rising = [1.0, 1.02, 1.04, 1.06, 1.08, 1.1]
    assert trend(rising, 0.05) == pytest.approx(1.1, rel=0.01)
    assert trend(rising[::-1], 0.05) == pytest.approx(1 / 1.1, rel=0.01)
    assert trend(rising[:4], 0.05) == 1, "four in order come by chance"
    assert trend([1.0] * 9, 0.05) == 1
    assert trend([1.0, 1.1, 1.02, 1.08, 1.01, 1.09, 1.03], 0.05) == 1
    assert trend([1.0, 1.0, 1.0, 1.0, 1.1], 0.05) == 1, "one that is late is not a trend"


@pytest.mark.parametrize("bad", [[], [0.0], [-1.0], [math.nan], [math.inf]])
def test_what_is_no_time_is_refused(bad):
    with pytest.raises(UsageError, match="give"):
        rank_p(bad, [1.0])
    with pytest.raises(UsageError, match="give"):
        ratio_interval([1.0], bad)
