"""The line T = c + s·N: found exactly where it is one, as scipy finds it where it is not, and never made up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from albench.analysis.pace import pace
from albench.errors import UsageError
from albench.schedule import pipelined


@given(
    step=st.floats(1e-6, 10), fill=st.floats(0, 100), lengths=st.sets(st.integers(1, 10_000), min_size=2, max_size=6)
)
def test_a_line_is_found_exactly(step, fill, lengths):
    found = pace(sorted(lengths), [fill + step * n for n in sorted(lengths)])
    scale = fill + step * max(lengths)
    assert found.step_seconds * max(lengths) == pytest.approx(step * max(lengths), abs=1e-6 * scale)
    assert found.fill_seconds == pytest.approx(fill, abs=1e-6 * scale)
    assert found.lengths == len(lengths)
    assert (found.worst_error is None) == (len(lengths) == 2)


@pytest.mark.parametrize("slots", [1, 4, 64])
def test_a_pipeline_of_equal_ticks_fills_in_as_many_as_it_has_slots_less_one(slots):
    lengths = (8, 32, 100)
    found = pace(lengths, [0.5 * len(list(pipelined(slots, n))) for n in lengths])
    assert found.fill_minibatches == pytest.approx(slots - 1, abs=1e-9)
    assert found.worst_error == pytest.approx(0, abs=1e-9)


def test_it_is_what_scipy_finds_with_errors_in_proportion():
    generator = np.random.default_rng(0)
    n = np.array([16, 48, 128, 384, 512])
    t = (0.3 + 0.01 * n) * generator.normal(1, 0.05, n.size)
    (fill, step), _ = curve_fit(lambda n, c, s: c + s * n, n, t, sigma=t)
    found = pace(n.tolist(), t.tolist())
    assert (found.fill_seconds, found.step_seconds) == pytest.approx((fill, step), rel=1e-5)
    assert found.worst_error == pytest.approx(np.abs((fill + step * n) / t - 1).max(), rel=1e-3)


def test_nothing_is_made_up():
    assert pace([], []) is None
    assert pace([8], [1.0]) is None
    assert pace([8, 8], [1.0, 1.1]) is None, "one length, run twice"
    assert pace([8, 16], [1.0, 0.9]) is None, "time that does not grow has no pace"
    for lengths, seconds in (([8, 16], [1.0]), ([8, 16], [1.0, float("nan")]), ([0, 8], [1.0, 2.0])):
        with pytest.raises(UsageError):
            pace(lengths, seconds)
