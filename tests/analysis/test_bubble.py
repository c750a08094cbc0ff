"""The ideal is the schedule, and the bubble is what lies beside the tasks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albench.analysis.bubble import (
    bubble_share,
    ideal,
    ideal_spans,
    median_seconds,
    replayed_actions,
    replayed_launches,
)
from albench.errors import UsageError
from albench.schedule import bubble_share as schedule_bubble_share
from albench.schedule import gpipe, one_f_one_b, partition, pipelined, serial, timeline
from albench.trace import Span, bars
from tests.test_trace import trace

DURATIONS = st.lists(st.floats(0.001, 5.0), min_size=1, max_size=9)


def test_the_ideal_of_equal_tasks_on_a_lane_each_is_table_1():
    """The staircase of `albench.schedule`, tick by tick."""
    spans = ideal_spans([1.0] * 3, 5, [range(i, i + 1) for i in range(3)])
    ticks = [{(s.component, s.minibatch) for s in spans if s.start_seconds == tick} for tick in range(7)]
    assert ticks == [set(tick) for tick in pipelined(3, 5)]


def test_the_ideal_on_one_lane_is_the_serial_order_without_a_bubble():
    spans = ideal_spans([1.0, 2.0], 3, [range(2)])
    assert [[(span.component, span.minibatch)] for span in spans] == serial(2, 3)
    assert bubble_share(spans) == pytest.approx(0.0)


@given(DURATIONS, st.integers(1, 12), st.integers(1, 9))
def test_the_ideal_takes_as_long_as_the_timeline_says(seconds, minibatches, lanes):
    blocks = partition(seconds, lanes)
    spans = ideal_spans(seconds, minibatches, blocks)
    expected = timeline(seconds, minibatches, blocks)
    assert max(span.end_seconds for span in spans) == pytest.approx(expected.makespan)
    assert bubble_share(spans) == pytest.approx(expected.bubble_share, abs=1e-9)
    assert median_seconds(spans) == pytest.approx(seconds)


@given(DURATIONS, st.integers(1, 12), st.integers(1, 9))
def test_the_ideal_keeps_the_arrows_and_never_overlaps(seconds, minibatches, lanes):
    spans = ideal_spans(seconds, minibatches, partition(seconds, lanes), first_minibatch=4)
    found = {(span.component, span.minibatch): span for span in spans}
    assert set(found) == {(i, k) for i in range(len(seconds)) for k in range(4, 4 + minibatches)}
    for (i, k), span in found.items():
        for needed in ((i - 1, k), (i, k - 1)):
            assert needed not in found or found[needed].end_seconds <= span.start_seconds
    for lane in {span.lane for span in spans}:
        own = [span for span in spans if span.lane == lane]
        assert all(one.end_seconds <= other.start_seconds for one, other in itertools.pairwise(own))


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 9), st.floats(0, 9)), max_size=20))
def test_a_bubble_is_a_share_whatever_the_spans(found):
    """Overlaps, gaps, spans of no length: what counts is the time that some task covers."""
    share = bubble_share([Span(0, 0, lane, min(a, b), max(a, b)) for lane, a, b in found])
    assert 0 <= share <= 1


def test_a_bubble_counts_waiting_and_counts_a_launch_once():
    waiting = [Span(0, 0, 0, 10.0, 11.0), Span(0, 1, 0, 11.0, 12.0), Span(1, 0, 1, 11.0, 12.0)]
    assert bubble_share(waiting) == pytest.approx(1 / 4)
    assert bubble_share([Span(0, 1, 0, 0.0, 1.0), Span(1, 0, 0, 0.0, 1.0), Span(1, 1, 0, 3.0, 4.0)]) == 0.5
    assert bubble_share([]) == 0.0
    assert bubble_share([Span(0, 0, 0, 1.0, 1.0)]) == 0.0


def test_the_ideal_of_a_trace_replays_its_medians():
    """One slow task and a late start do not show in it, and neither does when the trace began."""
    measured = [
        Span(0, 0, 0, 100.0, 101.0), Span(0, 1, 0, 101.0, 102.0), Span(0, 2, 0, 102.0, 109.0),
        Span(1, 0, 1, 105.0, 107.0), Span(1, 1, 1, 107.0, 109.0), Span(1, 2, 1, 109.0, 111.0),
    ]  # fmt: skip
    spans = ideal(trace(measured))
    assert [(s.component, s.minibatch, s.start_seconds, s.end_seconds) for s in spans] == [
        (0, 0, 0.0, 1.0), (1, 0, 1.0, 3.0), (0, 1, 1.0, 2.0), (1, 1, 3.0, 5.0), (0, 2, 2.0, 3.0), (1, 2, 5.0, 7.0),
    ]  # fmt: skip


def test_launches_are_replayed_back_to_back():
    """A launch of the same components takes their median, and its tasks stay one."""
    measured = [
        Span(0, 0, 0, 0.0, 1.0),
        Span(0, 1, 0, 2.0, 4.0), Span(1, 0, 0, 2.0, 4.0),
        Span(0, 2, 0, 5.0, 9.0), Span(1, 1, 0, 5.0, 9.0),
        Span(1, 2, 0, 9.5, 10.0),
    ]  # fmt: skip
    replayed = replayed_launches(measured)
    assert [(bar.start_seconds, bar.end_seconds, len(bar.tasks)) for bar in bars(replayed)] == [
        (0.0, 1.0, 1), (1.0, 4.0, 2), (4.0, 7.0, 2), (7.0, 7.5, 1),
    ]  # fmt: skip
    assert bubble_share(replayed) == pytest.approx(0.0)
    assert bubble_share(ideal(trace(measured, unit="tick"))) == pytest.approx(0.0)


def actions(ticks, *, minibatches=1, lane=lambda stage: stage):
    """Return the spans of ticks of stages, a second each, then a second for the update."""
    length = len(ticks) + 1
    spans = [
        Span(stage, k, lane(stage), k * length + tick, k * length + tick + 1.0, f"{kind}{microbatch}")
        for k in range(minibatches)
        for tick, found in enumerate(ticks)
        for kind, stage, microbatch in found
    ]
    return spans + [
        Span(s, k, lane(s), (k + 1) * length - 1.0, (k + 1) * length + 0.0, "U")
        for k in range(minibatches)
        for s in {span.component for span in spans}
    ]


@pytest.mark.parametrize("clock", [gpipe, one_f_one_b])
def test_the_ideal_of_stages_is_their_clock_however_late_they_were(clock):
    """Stretched by waiting before every action, the ticks of the schedule come back, and so does its bubble."""
    ticks = clock(3, 4)
    punctual = [span for span in actions(ticks) if span.action != "U"]
    late = [s._replace(start_seconds=3 * s.start_seconds + 1, end_seconds=3 * s.start_seconds + 2) for s in punctual]
    replayed = replayed_actions(late)
    assert sorted(replayed) == sorted(punctual)
    assert bubble_share(replayed) == pytest.approx(schedule_bubble_share(ticks, 3))
    assert bubble_share(late) > bubble_share(replayed)


def test_the_next_mini_batch_waits_for_the_update_of_its_own_stage_alone():
    replayed = {
        (s.component, s.minibatch, s.action): s
        for s in ideal(trace(actions(gpipe(2, 2), minibatches=2), unit="action"))
    }
    assert replayed[1, 0, "U"].start_seconds == replayed[1, 0, "B1"].end_seconds
    assert replayed[0, 1, "F0"].start_seconds == replayed[0, 0, "U"].end_seconds
    assert replayed[1, 1, "F0"].start_seconds == replayed[0, 1, "F0"].end_seconds


def test_a_backward_pass_in_two_parts_hands_on_after_the_first():
    """Zero bubble: the gradient of the input goes on, that of the weights fills the time."""
    measured = [
        Span(0, 0, 0, 0.0, 1.0, "F0"), Span(1, 0, 1, 1.0, 2.0, "F0"), Span(1, 0, 1, 2.0, 3.0, "I0"),
        Span(1, 0, 1, 3.0, 4.0, "W0"), Span(0, 0, 0, 9.0, 10.0, "I0"), Span(0, 0, 0, 10.0, 11.0, "W0"),
    ]  # fmt: skip
    ends = {(s.component, s.action): s.end_seconds for s in replayed_actions(measured)}
    assert ends[0, "I0"] == ends[1, "W0"] == 4.0


def test_actions_that_wait_for_each_other_are_no_schedule():
    with pytest.raises(UsageError, match="wait for each other"):
        replayed_actions([Span(1, 0, 0, 0.0, 1.0, "F0"), Span(0, 0, 0, 1.0, 2.0, "F0")])
