"""Numbers as a person reads them."""

import math

import pytest

from albench.analysis.statistics import Interval
from albench.report.words import counted, ends, listed, median_words, number, percent, times


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.38, "0.380"),
        (3.364, "3.36"),
        (16.51, "16.5"),
        (128.4, "128"),
        (12345.6, "12\N{NARROW NO-BREAK SPACE}346"),
        (0.9996, "1.00"),
        (0, "0"),
        (0.0000012, "1.20 × 10⁻⁶"),
        (-0.5, "-0.500"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_three_digits_and_no_power_of_ten_where_none_is_needed(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_share_that_rounds_to_nothing_is_not_called_nothing() -> None:
    assert percent(0.004) == "under 1 %"
    assert percent(0.0) == "0 %"
    assert percent(0.131) == "13 %"
    assert percent(0.965, 1) == "96.5 %"


def test_small_words() -> None:
    assert times(4.234) == "4.2×"
    assert times(math.nan) == "–", "no ratio is no multiple"
    assert listed([]) == "nothing"
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert counted(1, "record") == "1 record"
    assert counted(3, "mini-batch", "es") == "3 mini-batches"


def test_an_interval_that_does_not_exist_has_no_ends() -> None:
    assert ends(Interval(estimate=1.0, low=math.nan, high=math.nan)) == ""
    assert ends(Interval(estimate=1.0, low=0.9, high=1.1), 2) == "[0.90, 1.1]"
    assert ends(Interval(estimate=1.0, low=1.0, high=1.0, confidence=0.0)) == "", "one measurement is no interval"
    assert ends(Interval(estimate=1.0, low=1.0, high=1.0)) == "[1.00, 1.00]", "many that are equal are one"


def test_a_single_round_is_said_to_have_no_interval() -> None:
    assert median_words([6, 6], "its 95 % interval").startswith("Median of the rounds [its 95 % interval; with fewer")
    assert median_words([6, 1], "its 95 % interval").endswith("; of a single round there is none]")
    assert median_words([1, 1], "its 95 % interval") == "Measured in one round, of which there is no interval"
