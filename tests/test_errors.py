"""Errors that a user can mend: one line, and the nearest names."""

import pytest

from albench.errors import UsageError, unknown_name

ENGINES = ["serial", "threads", "fused"]


def test_a_usage_error_is_a_value_error():
    """So that callers who know nothing of albench catch it where they catch bad values."""
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize("given", ["thread", "threds", "Threads", "THREADS"])
def test_the_nearest_name_is_offered_however_it_is_written(given):
    assert "did you mean 'threads'?" in str(unknown_name("engine", given, ENGINES))


def test_all_names_are_listed_in_order_and_a_far_one_gets_no_guess():
    message = str(unknown_name("engine", "warp", ENGINES))
    assert message == "unknown engine 'warp': known are fused, serial, threads"


@pytest.mark.parametrize("given", ["a\nb", "", None, 3])
def test_it_is_one_line_whatever_is_given(given):
    message = str(unknown_name("engine", given, ENGINES))
    assert "\n" not in message
    assert repr(given) in message
