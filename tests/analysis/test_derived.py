"""Derived numbers, against sums done by hand; what was not measured stays unknown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.derived import derive
from albench.errors import UsageError


def test_by_hand():
    found = derive(
        seconds=2.0,
        instances=1000,
        minibatches=10,
        flops_per_minibatch=10**9,
        matmul_peak_flops_per_second=2e10,
        energy_joules=500.0,
    )
    assert found.samples_per_second == 500.0
    assert found.milliseconds_per_minibatch == 200.0
    assert found.flops_per_second == 5e9
    assert found.share_of_peak == 0.25
    assert found.joules_per_sample == 0.5


def test_what_was_not_measured_stays_unknown():
    found = derive(seconds=1.0, instances=1, minibatches=1, matmul_peak_flops_per_second=1e9)
    assert (found.flops_per_second, found.share_of_peak, found.joules_per_sample) == (None, None, None)
    assert derive(seconds=1.0, instances=1, minibatches=1, flops_per_minibatch=5).share_of_peak is None


@given(seconds=st.floats(1e-6, 1e6), minibatches=st.integers(1, 10**6), batch_size=st.integers(1, 4096))
@settings(derandomize=True, deadline=None)
def test_time_and_speed_are_each_others_inverse(seconds, minibatches, batch_size):
    found = derive(seconds=seconds, instances=minibatches * batch_size, minibatches=minibatches)
    assert found.samples_per_second * found.milliseconds_per_minibatch == pytest.approx(1e3 * batch_size)


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"instances": 0},
        {"minibatches": -1},
        {"matmul_peak_flops_per_second": 0.0},
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes):
    with pytest.raises(UsageError, match="give a number above 0"):
        derive(**({"seconds": 1.0, "instances": 1, "minibatches": 1} | changes))
