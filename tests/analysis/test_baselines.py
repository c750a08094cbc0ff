"""Ratios that claim nothing they cannot, and ideals that are those of the schedules."""

import math

import pytest

from albench.analysis.baselines import (
    IDEALS,
    Standing,
    best,
    efficiency,
    ideal_speedup,
    lowest_confidence,
    one_lane,
    outcome,
    ranked,
    speed,
)
from albench.analysis.statistics import Interval
from albench.methods.cutting import PIPELINES


def standing(name, seconds, *, low=None, high=None, **changes):
    interval = Interval(seconds, seconds if low is None else low, seconds if high is None else high)
    given = {
        "name": name,
        "method": "bp",
        "engine": "eager",
        "side": "bp",
        "lanes": 1,
        "microbatches": None,
        "chunks": 1,
        "instances": 256,
        "minibatch_seconds": interval,
        "rounds": 6,
    }
    return Standing(**(given | changes))


@pytest.mark.parametrize(
    ("lanes", "microbatches", "ideal"), [(2, 4, 1.6), (4, 4, 2.29), (4, 8, 2.91), (8, 8, 4.27), (8, 32, 6.56)]
)
@pytest.mark.parametrize("method", ["gpipe", "1f1b"])
def test_the_ideal_of_a_flushed_pipeline_is_the_published_one(method, lanes, microbatches, ideal):
    assert ideal_speedup(method, lanes=lanes, microbatches=microbatches) == pytest.approx(ideal, abs=0.005)


def test_chunks_shorten_the_bubble_and_zero_bubble_has_none():
    # bubble over ideal time is (K - 1) / (v·M): 3 / (2·8) here
    assert ideal_speedup("interleaved-1f1b", lanes=4, microbatches=8, chunks=2) == pytest.approx(4 / (1 + 3 / 16))
    assert ideal_speedup("zero-bubble", lanes=4, microbatches=8, chunks=2) == 4.0
    assert ideal_speedup("zero-bubble", lanes=4, microbatches=6, chunks=2) is None, "too few to fill the lanes"
    assert ideal_speedup("ddp", lanes=4, microbatches=1) is None


@pytest.mark.parametrize("method", PIPELINES)
def test_one_lane_gains_nothing_and_no_ideal_exceeds_the_lanes(method):
    assert ideal_speedup(method, lanes=1, microbatches=4, chunks=2) == 1.0
    for lanes in (2, 4, 8):
        for microbatches in (1, 4, 32, 256):
            ideal = ideal_speedup(method, lanes=lanes, microbatches=microbatches, chunks=2)
            assert ideal is None or ideal <= lanes
    assert IDEALS[method].assumption


def test_speed_is_a_ratio_with_the_worst_of_both_intervals():
    own = standing("own", 1.0, low=0.9, high=1.2)
    rival = standing("rival", 2.0, low=1.8, high=2.1)
    found = speed(own, rival)
    assert (found.estimate, found.low, found.high) == pytest.approx((2.0, 1.5, 2.1 / 0.9))
    assert outcome(found) == "faster"
    assert outcome(speed(rival, own)) == "slower"


@pytest.mark.parametrize(("low", "high"), [(0.8, 1.3), (1.0, 1.2), (math.nan, math.nan)])
def test_an_interval_that_holds_one_or_is_none_decides_nothing(low, high):
    assert outcome(Interval(1.1, low, high)) == "unclear"


def test_efficiency_is_the_share_of_the_ideal():
    lane = standing("BP, 1 thread", 1.6)
    pipeline = standing("GPipe", 2.0, method="gpipe", side="pipeline", lanes=2, microbatches=4)
    found = efficiency(pipeline, lane)
    assert found is not None
    assert found.estimate == pytest.approx(0.8 / 1.6)
    assert efficiency(lane, lane) is None


def test_best_and_order():
    slow, fast, wide = standing("slow", 3.0), standing("fast", 2.0), standing("wide", 1.0, lanes=2)
    assert [one.name for one in ranked([slow, wide, fast])] == ["wide", "fast", "slow"]
    assert best([slow, wide, fast], "bp") is wide
    assert one_lane([slow, wide, fast]) is fast
    assert best([slow], "pipeline") is None
    assert one_lane([wide]) is None
    assert ranked([]) == ()
    assert math.isnan(lowest_confidence([]))
