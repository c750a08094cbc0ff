"""Stopping rules on made-up sequences: each ends, says why, and ends at the right place. No clock is read."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.stopping import AllOf, FirstOf, MedianKnown, SampleCount, TotalTime
from albench.errors import UsageError

MOST = 60


def rules():
    """Every rule anew, each with a goal that a sequence may miss for ever."""
    singles = {
        "median": lambda: MedianKnown(relative_half_width=0.02, most=MOST),
        "time": lambda: TotalTime(seconds=5.0, most=MOST),
        "count": lambda: SampleCount(samples=10, most=MOST),
    }
    both = {
        "first": lambda: FirstOf(rules=tuple(make() for make in singles.values())),
        "all": lambda: AllOf(rules=tuple(make() for make in singles.values())),
        "nested": lambda: AllOf(rules=(FirstOf(rules=(singles["median"](), singles["time"]())), singles["count"]())),
    }
    return singles | both


def fed(rule, values, limit=10 * MOST):
    """Feed values until the rule stops; returns how many it took."""
    for number, value in enumerate(itertools.islice(values, limit), 1):
        rule.add(value)
        if rule.stop:
            return number
    return None


SEQUENCES = {
    "constant": lambda: itertools.repeat(1.0),
    "zeros": lambda: itertools.repeat(0.0),
    "nan": lambda: itertools.repeat(math.nan),
    "infinite": lambda: itertools.repeat(math.inf),
    "minus infinite": lambda: itertools.repeat(-math.inf),
    "huge": lambda: itertools.repeat(1.7e308),
    "tiny": lambda: itertools.repeat(5e-324),
    "negative": lambda: itertools.repeat(-1.0),
    "alternating": lambda: itertools.cycle([1e-3, 2e-3]),
    "alternating with nan": lambda: itertools.cycle([1e-3, math.nan]),
    "alternating signs": lambda: itertools.cycle([1e-3, -1e-3]),
    "drift up": lambda: (1e-3 * 1.1**i for i in range(1000)),
    "drift down": lambda: (1e-3 * 0.9**i for i in range(1000)),
    "steps": lambda: (1e-3 * (1 + i // 7) for i in range(1000)),
    "noise": lambda: iter(np.random.default_rng(0).lognormal(-7, 2, 1000).tolist()),
}


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("name", rules())
def test_every_rule_ends_on_every_sequence_and_says_why(name, sequence):
    rule = rules()[name]()
    assert rule.stop is None, "nothing is known before anything was measured"
    taken = fed(rule, SEQUENCES[sequence]())
    assert taken is not None
    assert taken <= MOST
    assert rule.stop.reason
    assert "\n" not in rule.stop.reason


@settings(deadline=None, derandomize=True, max_examples=150)
@given(values=st.lists(st.floats(), min_size=MOST, max_size=MOST), name=st.sampled_from(sorted(rules())))
def test_every_rule_ends_on_any_numbers(values, name):
    rule = rules()[name]()
    taken = fed(rule, values)
    assert taken is not None
    stop = rule.stop
    rule.add(math.nan)
    assert rule.stop is not None, "what has stopped stays stopped"
    assert stop.reason


def test_a_constant_is_known_after_the_fewest_samples_that_make_an_interval():
    rule = MedianKnown(relative_half_width=0.02)
    assert fed(rule, SEQUENCES["constant"]()) == 6
    assert rule.stop.met
    assert rule.stop.reason == "the median is known within 0 of itself from 6 samples"


def test_a_median_is_known_once_its_interval_is_narrow_and_not_before():
    generator = np.random.default_rng(1)
    narrow, wide = (
        fed(MedianKnown(relative_half_width=width), iter(generator.normal(1, 0.05, 5000).tolist()), 5000)
        for width in (0.01, 0.04)
    )
    # Half the interval of a median of m normal samples is 1.96·1.25·0.05/√m: about 150 samples for 1 %, 9 for 4 %.
    assert 60 < narrow < 300
    assert 6 <= wide < 30


def test_a_median_that_is_not_known_in_the_end_is_given_up():
    rule = MedianKnown(relative_half_width=0.02, most=MOST)
    assert fed(rule, SEQUENCES["alternating"]()) == MOST
    assert not rule.stop.met
    assert rule.stop.reason == "gave up after 60 samples: the median is known within 0.33 of itself, 0.02 was asked for"
    nothing = MedianKnown(relative_half_width=0.02, most=3)
    fed(nothing, SEQUENCES["nan"]())
    assert nothing.stop.reason == "gave up after 3 samples: none of them is a time"


def test_what_is_no_time_is_left_out_and_counted():
    rule = MedianKnown(relative_half_width=0.02)
    assert fed(rule, itertools.cycle([1.0, math.nan])) == 11
    assert rule.stop.reason == "the median is known within 0 of itself from 6 samples (5 that are no times left out)"


def test_total_time_is_the_sum():
    rule = TotalTime(seconds=1.0)
    assert fed(rule, itertools.repeat(0.3)) == 4
    assert (rule.stop.met, rule.stop.reason) == (True, "1.2 s were measured, 1 s are enough")
    rule = TotalTime(seconds=1.0)
    assert fed(rule, itertools.cycle([0.3, math.nan, -5.0])) == 10, "a clock that went back gives no time back"
    rule = TotalTime(seconds=1.0, most=5)
    fed(rule, itertools.repeat(0.1))
    assert rule.stop.reason == "gave up after 5 samples: they add up to 0.5 s, 1 s were asked for"


def test_count_counts_times():
    rule = SampleCount(samples=3)
    assert fed(rule, itertools.cycle([1.0, math.nan])) == 5
    assert rule.stop.reason == "all 3 samples are taken (2 that are no times left out)"
    rule = SampleCount(samples=3, most=4)
    fed(rule, itertools.cycle([1.0, math.nan]))
    assert (rule.stop.met, rule.stop.reason) == (False, "gave up after 4 samples: 2 of 3 are times")


def test_the_first_rule_that_ends_ends_all_of_them():
    rule = FirstOf(rules=(MedianKnown(relative_half_width=0.02), TotalTime(seconds=0.05), SampleCount(samples=50)))
    fed(rule, SEQUENCES["alternating"]())
    assert rule.stop.reason == "0.051 s were measured, 0.05 s are enough"
    rule = FirstOf(rules=(MedianKnown(relative_half_width=0.02, most=5), SampleCount(samples=5)))
    assert fed(rule, SEQUENCES["constant"]()) == 5
    assert rule.stop.met, "of two that end at once the one that has what it waited for speaks"


def test_all_rules_must_end_and_all_reasons_are_told():
    rule = AllOf(rules=(MedianKnown(relative_half_width=0.02), SampleCount(samples=9)))
    assert fed(rule, SEQUENCES["constant"]()) == 9
    assert rule.stop.reason == "the median is known within 0 of itself from 6 samples; all 9 samples are taken"
    rule = AllOf(rules=(MedianKnown(relative_half_width=0.02, most=20), SampleCount(samples=9)))
    fed(rule, SEQUENCES["alternating"]())
    assert not rule.stop.met, "one gave up"


@pytest.mark.parametrize(
    "make",
    [
        lambda: MedianKnown(relative_half_width=0.0),
        lambda: MedianKnown(relative_half_width=math.nan),
        lambda: MedianKnown(relative_half_width=0.1, confidence=1.0),
        lambda: MedianKnown(relative_half_width=0.1, most=0),
        lambda: TotalTime(seconds=-1.0),
        lambda: TotalTime(seconds=math.inf),
        lambda: SampleCount(samples=0),
        lambda: SampleCount(samples=11, most=10),
        lambda: FirstOf(rules=()),
        lambda: AllOf(rules=()),
    ],
)
def test_rules_that_never_stop_or_never_start_are_refused(make):
    with pytest.raises(UsageError, match="give"):
        make()
