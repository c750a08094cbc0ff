"""Drift is told from made-up controls: where the machine changed pace, and nowhere else."""

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.drift import deviations, is_drift


def test_a_case_beside_a_slow_control_is_off_and_others_are_not():
    """control, cases 1-2, control, cases 4-5, slow control, case 7, control, case 9."""
    controls = [(0, 1.0), (3, 1.0), (6, 1.3), (8, 1.01)]
    usual = 1.005
    found = deviations([1, 2, 4, 5, 7, 9], controls)
    assert [is_drift(one) for one in found] == [False, False, True, True, True, False]
    assert math.isclose(found[2], 1.3 / usual - 1)
    assert math.isclose(found[5], 1.01 / usual - 1)


def test_a_faster_machine_is_a_drift_too():
    (found,) = deviations([1], [(0, 1.0), (2, 0.7), (3, 1.0)])
    assert is_drift(found)
    assert found < 0


def test_cases_outside_the_controls_have_one_beside_them():
    first, last = deviations([0, 9], [(1, 2.0), (2, 1.0), (3, 1.0), (4, 3.0), (5, 1.0)])
    assert (first, last) == (1.0, 0.0)


def test_two_controls_tell_nothing():
    assert all(math.isnan(one) for one in deviations([1, 2], [(0, 1.0), (3, 9.0)]))
    assert not is_drift(math.nan)
    assert deviations([], []) == []


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=40), st.floats(0.1, 10.0), st.randoms(use_true_random=False))
def test_only_ratios_count(seconds, scale, order):
    """Another unit of time changes nothing; of two neighbours equally far off either may be told."""
    controls = [(2 * i, value) for i, value in enumerate(seconds)]
    cases = sorted(order.sample(range(-1, 2 * len(seconds)), min(5, len(seconds))))
    plain = deviations(cases, controls)
    scaled = deviations(cases, [(place, scale * value) for place, value in controls])
    assert all(math.isclose(abs(one), abs(other), abs_tol=1e-9) for one, other in zip(plain, scaled, strict=True))


def test_a_quiet_machine_is_seldom_flagged_and_a_changed_one_always():
    """Three per cent of scatter: no flag in 200 sweeps; a fifth slower in the middle: all of its cases."""
    draw = random.Random(5)
    for _ in range(200):
        controls = [(10 * i, draw.gauss(1.0, 0.03)) for i in range(20)]
        assert not any(map(is_drift, deviations(range(1, 190), controls)))
        slow = [(place, value * (1.25 if 100 <= place < 130 else 1.0)) for place, value in controls]
        flagged = [place for place in range(1, 190) if place % 10 and is_drift(deviations([place], slow)[0])]
        assert set(flagged) >= {place for place in range(101, 120) if place % 10}
        assert not [place for place in flagged if not 90 < place < 140]
