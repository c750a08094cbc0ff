"""Failure conditions: what they mean, and that nothing else passes for one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.comparison import NOISE, compare
from albench.analysis.failure_conditions import (
    FailureCondition,
    failing,
    parse_conditions,
    parse_percentage,
)
from albench.errors import UsageError
from tests.analysis.test_comparison import STEADY, pair, scaled


def parsed(*texts, noise=NOISE):
    return parse_conditions(texts, noise=noise)


def test_conditions_are_read():
    assert parsed("slower:5%,cant-tell", "faster:12.5%") == (
        FailureCondition(kind="slower", share=0.05),
        FailureCondition(kind="can't-tell"),
        FailureCondition(kind="faster", share=0.125),
    )
    assert parsed("slower", "failed,missing") == tuple(
        FailureCondition(kind=k) for k in ("slower", "failed", "missing")
    )
    assert parsed() == ()


BAD = {
    "slowr:5%": "did you mean 'slower'",
    "": "unknown --fail-on condition ''",
    "slower,": "unknown --fail-on condition ''",
    "slower:": "give a percentage, such as 5%",
    "slower:5": "give a percentage, such as 5%",
    "slower:-5%": "give a percentage, such as 5%",
    "slower:nan%": "give a percentage, such as 5%",
    "slower:1e9%": "give a percentage, such as 5%",
    "slower:5%%": "give a percentage, such as 5%",
    "slower:\N{ARABIC-INDIC DIGIT FIVE}%": "give a percentage, such as 5%",
    "slower:1%": "give --noise 1% as well",
    "slower:0%": "give --noise 0% as well",
    "failed:5%": "failed takes no percentage",
    "same": "unknown --fail-on condition 'same'",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_condition_is_refused_in_one_line(text):
    with pytest.raises(UsageError) as error:
        parsed(text)
    assert BAD[text] in str(error.value)
    assert "\n" not in str(error.value)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=st.text(max_size=12) | st.from_regex(r"(slower|faster|failed|can't-tell)?:?[0-9.]*%?", fullmatch=True))
def test_any_text_is_read_or_refused(text):
    try:
        conditions = parsed(text)
    except UsageError:
        return
    assert all(0 <= condition.share < 10 for condition in conditions)


def test_conditions_are_checked_where_they_are_made():
    for bad in ({"kind": "slow"}, {"kind": "slower", "share": -1.0}, {"kind": "failed", "share": 0.1}):
        with pytest.raises(UsageError):
            FailureCondition(**bad)


def test_percentages():
    assert parse_percentage("5%", "x") == parse_percentage("5 %", "x") == 0.05
    assert parse_percentage("0.5%", "x") == 0.005


COMPARISON = compare(
    [
        pair(STEADY, scaled(1.1), "a"),
        pair(STEADY, scaled(1.04), "b"),
        pair(STEADY, scaled(1 / 1.2), "c"),
        pair(STEADY, STEADY, "d"),
        pair(STEADY[:3], scaled(9, STEADY[:3]), "e"),
    ]
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("slower", ["slower (2 cases): case a; case b"]),
        ("slower:5%", ["slower by more than 5 % (1 case): case a"]),
        ("slower:50%", []),
        ("faster:15%", ["faster by more than 15 % (1 case): case c"]),
        ("faster:25%", []),
        ("can't-tell", ["not to be told (1 case): case e"]),
        ("failed", ["failed in B only (1 case): case f"]),
        ("missing", []),
        ("slower:5%,failed", ["slower by more than 5 % (1 case): case a", "failed in B only (1 case): case f"]),
    ],
)
def test_only_verdicts_fail(text, lines):
    assert failing(COMPARISON, parsed(text), failed=["case f"]) == lines
