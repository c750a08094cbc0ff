"""The intervals, against scipy and against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from albench.analysis.statistics import mean_interval, median_interval, relative_half_width
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
@pytest.mark.parametrize("summary", [median_interval, mean_interval])
def test_what_was_not_measured_is_refused(summary, bad):
    with pytest.raises(UsageError):
        summary(bad)
