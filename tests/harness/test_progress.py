"""Progress tells people how long to wait, in the units that they plan with."""

import pytest

from albench.harness.progress import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (150, "2 min 30 s"),
        (3599.6, "1 h 00 min"),
        (9000, "2 h 30 min"),
        (86_399, "23 h 59 min"),
        (450_000, "5 d 05 h"),
    ],
)
def test_a_duration_is_told_in_two_units_however_long_it_is(seconds, words):
    """Two hundred epochs of a large network were said to take so many thousand minutes."""
    assert duration(seconds) == words
