"""The intervals, against scipy and against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from albench.analysis.statistics import (
    bootstrap_interval,
    mean_interval,
    median_interval,
    outliers,
    proportion_interval,
    relative_half_width,
)
from albench.errors import UsageError

samples = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)


@given(values=samples)
def test_median_interval_is_made_of_samples_around_the_median(values):
    interval = median_interval(values)
    assert interval.low <= interval.estimate <= interval.high
    assert interval.low in values
    assert interval.high in values
    assert interval.estimate == pytest.approx(float(np.median(values)))


@pytest.mark.parametrize("count", [6, 9, 17, 40])
def test_median_interval_agrees_with_scipys_quantile_test(count):
    values = np.random.default_rng(count).lognormal(size=count)
    interval = median_interval(values)
    theirs = stats.quantile_test(values, q=0, p=0.5).confidence_interval(0.95)
    assert interval.confidence >= 0.95
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("count", [7, 15])
def test_median_interval_covers_as_often_as_it_says(count):
    generator = np.random.default_rng(0)
    draws = generator.lognormal(size=(4000, count))  # a skewed law whose median is 1
    intervals = [median_interval(row) for row in draws]
    hits = np.mean([i.low <= 1 <= i.high for i in intervals])
    assert hits == pytest.approx(intervals[0].confidence, abs=0.015)


def test_too_few_samples_say_so():
    """Five samples lie on one side of the median in 1 of 16 experiments: no 95 % can be had from them."""
    five = median_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (five.low, five.high, five.confidence) == (1.0, 5.0, pytest.approx(1 - 2 / 32))
    assert median_interval([1.0]).confidence == 0
    assert relative_half_width(median_interval([1.0, 1.0])) == math.inf, "a stopping rule must not be fooled"


def test_mean_interval_agrees_with_scipy():
    values = [0.961, 0.975, 0.972, 0.958, 0.969]
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_relative_half_width():
    assert relative_half_width(median_interval(np.linspace(0.9, 1.1, 21))) == pytest.approx(0.05)
    assert relative_half_width(median_interval(np.zeros(21))) == math.inf


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
@pytest.mark.parametrize("summary", [median_interval, mean_interval, bootstrap_interval, outliers])
def test_what_was_not_measured_is_refused(summary, bad):
    with pytest.raises(UsageError):
        summary(bad)


def test_bootstrap_agrees_with_the_order_statistics_on_many_samples():
    """Two ways to one interval: were the bootstrap made of something else than the samples' median, they would part."""
    values = np.random.default_rng(3).lognormal(sigma=0.2, size=200)
    ours, theirs = bootstrap_interval(values), median_interval(values)
    assert ours.estimate == theirs.estimate
    assert ours.low == pytest.approx(theirs.low, rel=0.01)
    assert ours.high == pytest.approx(theirs.high, rel=0.01)
    assert bootstrap_interval(values) == ours, "the same seed, the same interval"


def test_bootstrap_is_scipys_percentile_interval():
    values = np.random.default_rng(4).lognormal(size=25)
    ours = bootstrap_interval(values, resamples=500, seed=7)
    theirs = stats.bootstrap(
        (values,), np.median, n_resamples=500, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_bootstrap_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    intervals = [bootstrap_interval(row, resamples=400) for row in generator.lognormal(size=(400, 25))]
    assert np.mean([i.low <= 1 <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.03)


def test_bootstrap_of_few_samples_says_what_it_is_worth():
    assert bootstrap_interval([2.0]).confidence == 0
    assert bootstrap_interval([1.0, 2.0, 3.0]).confidence == 0.75
    same = bootstrap_interval([2.0] * 9)
    assert (same.low, same.high, same.confidence) == (2.0, 2.0, 0.95)


def test_outliers_are_counted_on_their_side():
    """Quartiles 11 and 13: mild beyond 8 and 16, severe beyond 5 and 19."""
    middle = [10, 11, 11, 11, 12, 12, 12, 13, 13, 13, 14]
    found = outliers([*middle, 7, 17, 4.9, 19.1, 25])
    first, third = np.percentile([*middle, 7, 17, 4.9, 19.1, 25], (25, 75))
    assert (first, third) == (pytest.approx(11), pytest.approx(13.25)), "the fences are 7.6, 16.6, 4.25 and 20"
    assert (found.severe_low, found.mild_low, found.mild_high, found.severe_high) == (0, 2, 2, 1)
    assert (found.mild, found.severe) == (4, 1)


@given(values=st.lists(st.integers(1, 1000), min_size=1, max_size=40))  # whose fences are exact
def test_outliers_agree_with_scipys_quartile_range(values):
    first, third, spread = *np.percentile(values, (25, 75)), stats.iqr(values)
    found = outliers(values)
    far = sum(v < first - 3 * spread or v > third + 3 * spread for v in values)
    near = sum(v < first - 1.5 * spread or v > third + 1.5 * spread for v in values)
    assert (found.severe, found.mild + found.severe) == (far, near)
    assert near <= len(values) / 2, "half of all samples lie between the quartiles"


def test_no_outliers_in_a_constant():
    assert outliers([1.0] * 8).mild == outliers([1.0] * 8).severe == 0


@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_proportion_interval_agrees_with_scipy(trials, share):
    hits = round(share * trials)
    interval = proportion_interval(hits, trials)
    theirs = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert interval.low <= interval.estimate <= interval.high


def test_of_no_trials_nothing_is_known():
    interval = proportion_interval(0, 0)
    assert math.isnan(interval.estimate)
    assert (interval.low, interval.high) == (0, 1)
    with pytest.raises(UsageError, match="3 hits in 2 trials"):
        proportion_interval(3, 2)
