"""Replays: against closed forms, against a loop that asks the schedule for every arrow, and against each other."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.replay import pipeline_ends, pipeline_makespan, stages_makespan
from albench.errors import UsageError
from albench.schedule import gpipe_turns, interleaved_turns, needed_by, one_f_one_b_turns, pipelined

# Whole numbers: sums of them are exact, so that replays can be compared to the last bit.
seconds = st.integers(0, 50)
lane_seconds = st.lists(seconds, min_size=1, max_size=7)


def looped(durations, link, latency):
    """One task after the other, with each queue's last end remembered."""
    arrivals = [0.0] * len(durations[0])
    ends = []
    for lane in durations:
        done, sent, own, onward = 0.0, 0.0, [], []
        for k, duration in enumerate(lane):
            done = max(done, arrivals[k]) + duration
            sent = max(sent, done) + link
            own.append(done)
            onward.append(sent + latency)
        ends.append(own)
        arrivals = onward
    return ends


@given(st.lists(lane_seconds, min_size=1, max_size=6), seconds, seconds)
def test_the_replay_is_the_loop(rows, link, latency):
    """Durations that differ from mini-batch to mini-batch, links that are slower than lanes, latencies."""
    shortest = min(map(len, rows))
    durations = [row[:shortest] for row in rows]
    ends = pipeline_ends(durations, link_seconds=link, latency_seconds=latency)
    assert ends.tolist() == looped(durations, link, latency)


@given(lane_seconds, st.integers(1, 20), seconds, seconds)
def test_the_closed_form_is_the_replay_of_equal_mini_batches(lanes, minibatches, link, latency):
    costs = {"link_seconds": link, "latency_seconds": latency}
    ends = pipeline_ends([[lane] * minibatches for lane in lanes], **costs)
    assert pipeline_makespan(lanes, minibatches, **costs) == ends[-1, -1]


def test_equal_tasks_take_as_many_ticks_as_the_schedule_has():
    assert pipeline_makespan([1.0] * 5, 9) == len(pipelined(5, 9))


def test_a_latency_is_paid_once_a_hop_and_a_slow_link_sets_the_pace():
    assert pipeline_makespan([1, 1, 1], 100, latency_seconds=10) == 102 + 2 * 10
    assert pipeline_makespan([1, 1, 1], 100, link_seconds=4) == 3 + 2 * 4 + 99 * 4
    assert pipeline_makespan([1], 100, link_seconds=4, latency_seconds=9) == 100, "one lane hands nothing over"


def acted(turns, forward, backward, link, latency):
    """One action after the other, by `Turns.order` and `needed_by`, whoever can be served first."""
    stages, lanes = turns.stages, turns.lanes
    orders = [turns.order(lane) for lane in range(lanes)]
    ends, taken, free, links = {}, [0] * lanes, [0.0] * lanes, {}
    arrivals = {}
    while any(count < len(order) for count, order in zip(taken, orders, strict=True)):
        moved = False
        for lane, order in enumerate(orders):
            if taken[lane] == len(order):
                continue
            action = order[taken[lane]]
            kind, stage, m = action
            need = needed_by(action, stages)
            if need is not None and need not in ends:
                continue
            assert kind == "F" or ("F", stage, m) in ends
            start = max(free[lane], arrivals.get(action, 0.0))
            ends[action] = free[lane] = start + (forward if kind == "F" else backward)[stage]
            taken[lane] += 1
            moved = True
            onward = ("F", stage + 1, m) if kind == "F" else ("B", stage - 1, m)
            if 0 <= onward[1] < stages:
                hop = 0 if lanes == 1 else link[min(stage, onward[1])]
                links[lane, kind] = max(links.get((lane, kind), 0.0), ends[action]) + hop
                arrivals[onward] = links[lane, kind] + (0 if lanes == 1 else latency)
        assert moved, "every lane waits"
    return max(free)


@st.composite
def stage_pipelines(draw):
    lanes = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["gpipe", "1f1b", "interleaved"]))
    if kind == "gpipe":
        turns = gpipe_turns(lanes, draw(st.integers(1, 8)))
    elif kind == "1f1b":
        turns = one_f_one_b_turns(lanes, draw(st.integers(lanes, 9)))
    else:
        microbatches = draw(st.integers(1, lanes) | st.sampled_from([lanes * r for r in (1, 2, 3)]))
        turns = interleaved_turns(lanes, microbatches, draw(st.integers(1, 3)))
    one_each = st.lists(seconds, min_size=turns.stages, max_size=turns.stages)
    hops = draw(st.lists(seconds, min_size=turns.stages - 1, max_size=turns.stages - 1))
    return turns, draw(one_each), draw(one_each), hops, draw(seconds)


@given(stage_pipelines())
@settings(deadline=None, max_examples=150)
def test_stages_are_replayed_as_the_schedule_says(pipeline):
    turns, forward, backward, link, latency = pipeline
    found = stages_makespan(turns, forward, backward, link_seconds=link, latency_seconds=latency)
    assert found == acted(turns, forward, backward, link, latency)


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None)
def test_equal_stages_have_the_closed_forms(lanes, rounds, forward, backward):
    microbatches = lanes * rounds
    once = forward + backward
    for turns, per_lane in (
        (gpipe_turns(lanes, microbatches), microbatches),
        (one_f_one_b_turns(lanes, microbatches), microbatches),
        (interleaved_turns(lanes, microbatches), 2 * microbatches),
    ):
        equal = stages_makespan(turns, [forward] * turns.stages, [backward] * turns.stages)
        assert equal == (per_lane + lanes - 1) * once


@given(st.lists(seconds, min_size=1, max_size=6), st.lists(seconds, min_size=6, max_size=6), st.integers(1, 9), seconds)
@settings(deadline=None)
def test_gpipe_is_a_pipeline_forward_and_one_back(forward, backward, microbatches, latency):
    """Two closed forms, one after the other on the lane where they turn."""
    backward = backward[: len(forward)]
    there = pipeline_ends([[f] * microbatches for f in forward], latency_seconds=latency)
    rows = [[b] * microbatches for b in reversed(backward)]
    back = pipeline_ends(rows, latency_seconds=latency)
    turns = gpipe_turns(len(forward), microbatches)
    found = stages_makespan(turns, forward, backward, latency_seconds=latency)
    assert found == there[-1, -1] + back[-1, -1]


def test_two_million_tasks_are_replayed_in_seconds():
    """No task is visited by itself; how long a quiet machine takes is benchmarks/test_replay.py's to say."""
    varying = np.random.default_rng(0).uniform(1, 2, (4096, 256))
    start = time.perf_counter()
    pipeline_ends(varying, link_seconds=0.1, latency_seconds=0.1)
    stages_makespan(one_f_one_b_turns(512, 1024), np.ones(512), np.ones(512), latency_seconds=0.1)
    assert time.perf_counter() - start < 10.0  # a loop in Python over each of them takes longer


@pytest.mark.parametrize(
    "call",
    [
        lambda: pipeline_makespan([], 1),
        lambda: pipeline_makespan([1.0], 0),
        lambda: pipeline_makespan([float("nan")], 1),
        lambda: pipeline_makespan([1.0], 1, link_seconds=-1.0),
        lambda: pipeline_ends([1.0, 2.0]),
        lambda: pipeline_ends([[float("inf")]]),
        lambda: stages_makespan(gpipe_turns(2, 2), [1.0], [1.0, 1.0]),
        lambda: stages_makespan(gpipe_turns(2, 2), [1.0, 1.0], [1.0, -1.0]),
        lambda: stages_makespan(gpipe_turns(2, 2), [1.0, 1.0], [1.0, 1.0], link_seconds=[1.0, 1.0]),
    ],
)
def test_what_is_no_duration_is_refused_in_one_line(call):
    with pytest.raises(UsageError) as caught:
        call()
    assert "\n" not in str(caught.value)
