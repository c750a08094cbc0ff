"""Break-evens of curves whose crossing is known."""

import math

import numpy as np
import pytest

from albench.analysis import laws
from albench.analysis.break_even import (
    BreakEven,
    Fitted,
    along_depth,
    along_instances,
    along_measured,
    contradicted,
    decide,
)
from albench.analysis.laws import LANE_LAW, PRODUCT_LAW
from albench.analysis.statistics import Interval
from albench.errors import UsageError

DEPTHS = (2, 4, 8, 16, 32, 64)
LENGTHS = (256, 768, 2048)


def fitted(milliseconds, *, noise=0.02, seed=0, law=PRODUCT_LAW, depths=DEPTHS, lanes=1, bootstrap_seed=None):
    """Return the fit of made-up times with multiplicative noise."""
    n, depth = (axis.ravel().astype(float) for axis in np.meshgrid(LENGTHS, depths))
    seconds = milliseconds(n, depth) / 1e3 * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    sweep = laws.cells(n, depth, np.minimum(lanes, depth / 2), seconds)
    return Fitted.of(sweep, law, seed=seed if bootstrap_seed is None else bootstrap_seed)


def rising(fixed, layer, start=1.0, fill=0.0):
    return lambda n, depth: start + fill * depth + n * (fixed + layer * depth)


BP = rising(0.010, 0.004)
FLAT = rising(0.074, 0.0)
"""Crosses BP at ℓ = 16, whatever n is."""


def test_crossing_laws_break_even_where_they_cross():
    found = along_depth(fitted(FLAT, seed=1), [fitted(BP, seed=2)], n=2048)
    assert found.kind == "from"
    assert found.value.estimate == pytest.approx(16, rel=0.1)
    assert found.value.low < 16 < found.value.high
    assert (found.low, found.high) == (2, 64)
    assert not found.extrapolated


def test_intervals_hold_the_crossing_as_often_as_they_say():
    """40 made-up pairs of sweeps: 95 % and some luck."""
    found = [
        along_depth(fitted(FLAT, noise=0.05, seed=2 * seed), [fitted(BP, noise=0.05, seed=2 * seed + 1)], n=2048).value
        for seed in range(40)
    ]
    assert sum(one.low <= 16 <= one.high for one in found) >= 0.9 * len(found)


@pytest.mark.parametrize(
    ("own", "kind"),
    [
        (rising(0.005, 0.001), "always"),
        (rising(0.1, 0.02), "never"),
        (rising(0.004, 0.0044), "until"),  # fixed part smaller, layers dearer: ahead up to ℓ = 15
        (rising(0.010, 0.004), "not decided"),
    ],
)
def test_what_does_not_cross_is_told(own, kind):
    found = along_depth(fitted(own, noise=0.005, seed=1), [fitted(BP, noise=0.005, seed=2)], n=2048)
    assert found.kind == kind
    if kind == "until":
        assert found.value.low < 15 < found.value.high
    if kind == "never":
        assert math.isinf(found.value.estimate)
        assert not found.extrapolated


def test_a_crossing_past_what_was_measured_is_extrapolated_and_decides_nothing():
    far = rising(0.010 + 0.004 * 128, 0.0)
    found = along_depth(fitted(far, seed=1), [fitted(BP, seed=2)], n=2048)
    assert found.kind == "never"
    assert found.extrapolated
    assert found.value.estimate == pytest.approx(128, rel=0.15)
    out_of_reach = along_depth(fitted(rising(4.5, 0.0), seed=1), [fitted(BP, seed=2)], n=2048)
    assert out_of_reach.kind == "never"
    assert not out_of_reach.extrapolated


def test_the_rival_is_the_fastest_of_them_at_each_depth():
    """One rival is cheap where networks are shallow, one where they are deep: their lower envelope is what counts."""
    shallow, deep = fitted(rising(0.002, 0.008), seed=2), fitted(rising(0.066, 0.004), seed=3)
    own = fitted(rising(0.150, 0.0005), seed=1)
    assert along_depth(own, [shallow], n=2048).value.estimate == pytest.approx(0.148 / 0.0075, rel=0.1)
    assert along_depth(own, [shallow, deep], n=2048).value.estimate == pytest.approx(0.084 / 0.0035, rel=0.1)


def test_a_rival_that_was_not_measured_over_the_range_takes_no_part():
    cheap = fitted(rising(0.001, 0.0001), seed=3, depths=(2, 4, 8))
    found = along_depth(fitted(FLAT, seed=1), [fitted(BP, seed=2), cheap], n=2048)
    assert found.value.estimate == pytest.approx(16, rel=0.1)


def test_the_range_is_what_both_sides_measured():
    found = along_depth(fitted(FLAT, seed=1, depths=(4, 8, 16)), [fitted(BP, seed=2)], n=2048)
    assert (found.low, found.high) == (4, 16)


def test_a_fill_is_paid_off_along_n():
    """Half the cost of an instance, and 20 ms of fill at ℓ = 64: BP is 0.266 ms an instance there, AL 0.133."""
    own = fitted(rising(0.005, 0.002, start=1.0, fill=0.8), noise=0.01, seed=1)
    found = along_instances(own, [fitted(BP, noise=0.01, seed=2)], hidden_layers=64)
    crossing = 0.8 * 64 / 0.133
    assert found.kind == "from"
    assert found.value.estimate == pytest.approx(crossing, rel=0.15)


def test_lanes_bend_the_curve():
    """Flat until two lanes are full: behind BP where the law is flat, and again where its slope is the steeper one."""
    lanes = lambda n, depth: 1 + n * 0.02 * np.maximum(1, depth / 4)  # noqa: E731
    found = along_depth(
        fitted(lanes, noise=0.01, law=LANE_LAW, lanes=2, seed=1), [fitted(BP, noise=0.01, seed=2)], n=2048
    )
    assert found.kind == "behind at the end"


def test_draws_that_never_cross_open_the_interval():
    places = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
    lead = np.tile(np.array([3.0, 1.0, -1.0, -2.0, -3.0]), (101, 1))
    lead[91:, 2:4] = 1.0
    lead[91:, 4] = 0.5
    found = decide(places, lead, high=16.0)
    assert found.kind == "not decided"
    assert found.value.estimate == pytest.approx(6)
    assert math.isinf(found.value.high)


@pytest.mark.parametrize(
    ("ratios", "kind", "value"),
    [
        ([(1.2, 1.1), (1.3, 1.2), (1.4, 1.3)], "always", 8),
        ([(0.8, 0.7), (1.3, 1.2), (1.4, 1.3)], "from", 32),
        ([(1.3, 1.2), (1.1, 0.9), (1.4, 1.3)], "from", 128),
        ([(0.8, 0.7), (0.9, 0.85), (0.7, 0.6)], "never", math.inf),
        ([(1.3, 1.2), (1.2, 1.1), (0.7, 0.6)], "until", 32),
        ([(1.1, 0.9), (1.2, 1.1), (0.7, 0.6)], "behind at the end", math.inf),
        ([(1.3, 1.2), (1.2, 1.1), (1.2, 0.9)], "not decided", math.nan),
        ([(1.3, math.nan), (1.2, math.nan), (1.2, math.nan)], "not decided", math.nan),
    ],
)
def test_measured_values_break_even_where_all_larger_ones_are_certain(ratios, kind, value):
    """The ends are symmetric around the estimate here; NaN: measured once."""
    intervals = [Interval(middle, low, 2 * middle - low) for middle, low in ratios]
    found = along_measured([8, 32, 128], intervals)
    assert found.kind == kind
    assert found.value.estimate == pytest.approx(value, nan_ok=True)
    assert not found.extrapolated


def test_a_single_value_is_no_axis():
    assert along_measured([16], [Interval(2.0, 1.9, 2.1)]).kind == "not decided"
    assert along_measured([], []).kind == "not decided"


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UsageError, match="give ascending values"):
        along_measured([4, 2], [Interval(1, 1, 1)] * 2)
    with pytest.raises(UsageError, match="no rival"):
        along_depth(fitted(FLAT), [], n=16)
    few = laws.cells(*(np.array(column, float) for column in ([1, 1, 2, 2], [2, 4, 2, 4], [1] * 4, [1, 2, 3, 4])))
    with pytest.raises(UsageError, match="too few"):
        Fitted.of(few, PRODUCT_LAW, seed=0)


@pytest.mark.parametrize(
    ("kind", "value", "ratio_at_8", "denied"),
    [
        ("from", (4, 3, 6), (0.8, 0.7, 0.9), True),
        ("from", (4, 3, 6), (0.98, 0.9, 1.1), False),
        ("from", (8, 6, 10), (0.8, 0.7, 0.9), False),
        ("from", (8, 8, 10), (1.2, 1.1, 1.3), False),
        ("from", (20, 16, 30), (1.2, 1.1, 1.3), True),
        ("until", (20, 16, 30), (0.8, 0.7, 0.9), True),
        ("until", (4, 3, 6), (0.8, 0.7, 0.9), False),
        ("always", (2, 2, 2), (0.8, 0.7, 0.9), True),
        ("never", (math.inf, math.inf, math.inf), (1.2, 1.1, 1.3), True),
        ("behind at the end", (math.inf, 5, math.inf), (1.2, 1.1, 1.3), False),
        ("not decided", (math.nan, math.nan, math.nan), (1.2, 1.1, 1.3), False),
        ("from", (4, 3, 6), (0.8, math.nan, math.nan), False),
    ],
)
def test_a_certain_point_denies_a_fit(kind, value, ratio_at_8, denied):
    found = BreakEven(kind=kind, value=Interval(*value), low=2, high=64)
    assert contradicted(found, [8], [Interval(*ratio_at_8)]) is denied
