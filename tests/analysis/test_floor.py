"""The floor of an update is counted: operations over their rate, or bytes over theirs."""

import pytest

from albench.analysis.floor import Machine, update_floor

MACHINE = Machine(flops_per_second=1e12, bytes_per_second=1e10)


def test_an_update_moves_forty_bytes_a_float32_parameter():
    floor = update_floor(MACHINE, flops=0, parameters=1_000_000)
    assert floor.memory_seconds == pytest.approx(40e6 / 1e10)
    assert (floor.seconds, floor.limit) == (floor.memory_seconds, "memory")
    assert update_floor(MACHINE, flops=0, parameters=1_000_000, bytes_per_value=8).seconds == 2 * floor.seconds


def test_the_longer_of_the_two_is_the_floor():
    floor = update_floor(MACHINE, flops=10**10, parameters=1_000_000)
    assert floor.seconds == pytest.approx(1e-2)
    assert floor.limit == "arithmetic"


@pytest.mark.parametrize("rates", [{"flops_per_second": 0.0}, {"bytes_per_second": float("nan")}])
def test_rates_that_no_time_could_come_from_are_refused(rates):
    with pytest.raises(ValueError, match="give a rate above 0"):
        Machine(**({"flops_per_second": 1.0, "bytes_per_second": 1.0} | rates))
