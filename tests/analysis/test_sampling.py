"""What readings say of a window: never more than they know, and exact where the answer is known."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.sampling import (
    MINIMUM_READINGS,
    NotKnownError,
    counter_growth,
    inside,
    mean,
    readings_in,
    sampling_interval,
    thinned,
)

gaps = st.lists(st.floats(0.01, 10), min_size=8, max_size=60)


def moments(steps):
    """Return ascending times whose distances are `steps`."""
    times = [0.0]
    for step in steps:
        times.append(times[-1] + step)
    return times


@given(steps=gaps, rate=st.floats(0, 1e4), begin=st.floats(0, 1), length=st.floats(0, 1))
@settings(derandomize=True, deadline=None)
def test_a_counter_at_a_steady_rate_grows_by_that_wherever_the_readings_fell(steps, rate, begin, length):
    times = moments(steps)
    start = begin * times[-1]
    end = start + length * (times[-1] - start)
    grown = counter_growth(times, [rate * t for t in times], start, end)
    assert math.isclose(grown, rate * (end - start), rel_tol=1e-6, abs_tol=1e-6 * (1 + rate * times[-1]))


@given(steps=gaps, rises=st.lists(st.floats(0, 1e6), min_size=61, max_size=61), split=st.floats(0.1, 0.9))
@settings(derandomize=True, deadline=None)
def test_the_parts_of_a_window_add_up_to_the_whole(steps, rises, split):
    times = moments(steps)
    values = moments(rises)[: len(times)]
    middle = split * times[-1]
    whole = counter_growth(times, values, 0.0, times[-1])
    parts = counter_growth(times, values, 0.0, middle) + counter_growth(times, values, middle, times[-1])
    assert math.isclose(whole, parts, rel_tol=1e-9, abs_tol=1e-6)
    assert whole >= 0


@pytest.mark.parametrize(("start", "end"), [(-0.1, 2.0), (1.0, 9.1), (9.5, 9.6)])
def test_a_window_that_the_readings_do_not_cover_is_not_guessed(start, end):
    times = [float(i) for i in range(10)]
    with pytest.raises(NotKnownError, match="do not cover"):
        counter_growth(times, times, start, end)


def test_no_reading_at_all_is_not_known():
    with pytest.raises(NotKnownError):
        counter_growth([1.0, 2.0], [None, None], 1.0, 2.0)
    with pytest.raises(NotKnownError):
        counter_growth([], [], 1.0, 2.0)


@pytest.mark.parametrize("after", [0.0, 3.9], ids=["reset", "a step back"])
def test_a_counter_that_goes_backwards_in_the_window_is_not_believed(after):
    times = [float(i) for i in range(10)]
    values = [0.0, 1.0, 2.0, 3.0, 4.0, after, after + 1, after + 2, after + 3, after + 4]
    with pytest.raises(NotKnownError, match="backwards"):
        counter_growth(times, values, 2.0, 8.0)
    assert counter_growth(times, values, 6.0, 8.0) == 2.0, "what happened before the window does not matter"
    assert counter_growth(times, values, 1.0, 3.5) == 2.5


def test_failed_readings_are_bridged():
    times = [float(i) for i in range(10)]
    values = [0.0, None, 2.0, None, None, 5.0, 6.0, None, 8.0, 9.0]
    assert counter_growth(times, values, 1.0, 7.5) == 6.5


def test_only_readings_inside_the_window_count():
    times = [float(i) for i in range(20)]
    assert list(inside(times, 4.5, 7.0)) == [5, 6, 7]
    assert readings_in(times, times, 3.0, 10.0) == [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    assert mean([1.0, 2.0, 6.0]) == 3.0


def test_readings_that_look_back_before_the_window_do_not_count():
    """NVML's utilisation is an average over up to a second: the first readings still show the time before."""
    times = [i / 10 for i in range(40)]
    values = [0.0 if t < 1.0 + 1.0 else 1.0 for t in times]  # busy from 1.0 on, seen in full a second later
    assert mean(readings_in(times, values, 1.0, 3.9, settle_seconds=1.0)) == 1.0
    assert mean(readings_in(times, values, 1.0, 3.9)) < 0.7
    with pytest.raises(NotKnownError, match="looks that far back"):
        readings_in(times, values, 1.0, 1.9, settle_seconds=1.0)


@given(count=st.integers(0, MINIMUM_READINGS + 3))
def test_too_few_readings_are_no_mean(count):
    times = [float(i) for i in range(count)]
    if count < MINIMUM_READINGS:
        with pytest.raises(NotKnownError, match=f"{count} readings"):
            readings_in(times, times, 0.0, 100.0)
    else:
        assert len(readings_in(times, times, 0.0, 100.0)) == count


@given(start=st.integers(0, 50), length=st.integers(0, 5000), most=st.integers(2, 200))
@settings(derandomize=True, deadline=None)
def test_thinning_keeps_the_ends_and_the_order(start, length, most):
    places = range(start, start + length)
    kept = thinned(places, most)
    assert len(kept) == min(length, most)
    assert kept == sorted(set(kept))
    if length:
        assert kept[0] == places[0]
        assert kept[-1] == places[-1]


@pytest.mark.parametrize(("cost", "interval"), [(0.0, 0.05), (0.0001, 0.05), (0.001, 0.2), (0.005, 1.0), (1.0, 2.0)])
def test_the_rate_follows_from_the_cost(cost, interval):
    got = sampling_interval(cost, share=0.005, fastest_seconds=0.05, slowest_seconds=2.0)
    assert got == pytest.approx(interval)
