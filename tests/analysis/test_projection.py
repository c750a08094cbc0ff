"""The projection: a replay through the same schedule, checked where it can be counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albench.analysis.link import FREE, Link
from albench.analysis.projection import (
    TURNS,
    Layer,
    deeper,
    on_lanes,
    operations,
    pipeline_seconds,
    seconds_at_depth,
    stages_on_lanes,
    twin_layers,
)
from albench.errors import UsageError
from albench.schedule import pipelined, serial


def test_equal_tasks_take_as_long_as_the_schedule_has_ticks():
    assert pipeline_seconds([0.5] * 4, 10) == pytest.approx(0.5 * len(pipelined(4, 10)))
    assert pipeline_seconds([0.5] * 4, 10, lanes=1) == pytest.approx(0.5 * len(serial(4, 10)))


def test_the_slowest_component_sets_the_pace():
    assert pipeline_seconds([1.0, 3.0, 1.0], 100) == pytest.approx(5 + 99 * 3)


seconds = st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=10)


@given(task_seconds=seconds, minibatches=st.integers(1, 50), lanes=st.integers(1, 12))
def test_no_projection_beats_what_the_lanes_can_do(task_seconds, minibatches, lanes):
    """Neither faster than all work spread evenly, nor than one mini-batch's way through; nor slower than one lane."""
    projected = pipeline_seconds(task_seconds, minibatches, lanes)
    work = sum(task_seconds) * minibatches
    assert projected >= work / min(lanes, len(task_seconds)) * (1 - 1e-9)
    assert projected >= (sum(task_seconds) + (minibatches - 1) * max(task_seconds)) * (1 - 1e-9)
    assert projected <= work * (1 + 1e-9)


@given(task_seconds=seconds, minibatches=st.integers(1, 50), lanes=st.integers(1, 12))
def test_lanes_with_a_free_link_are_the_plain_projection(task_seconds, minibatches, lanes):
    projected = on_lanes(task_seconds, minibatches, lanes)
    assert projected.seconds == pytest.approx(pipeline_seconds(task_seconds, minibatches, lanes))
    assert projected.lanes == min(lanes, len(task_seconds))
    assert 0 <= projected.bubble_share < 1
    slow = Link(latency_seconds=1.0, bytes_per_second=10.0)
    with_link = on_lanes(task_seconds, minibatches, lanes, link=slow, handed_on_bytes=20.0)
    assert with_link.seconds >= projected.seconds + (projected.lanes - 1) * 3.0 - 1e-9
    assert with_link.busy_seconds == projected.busy_seconds


def test_four_thousand_equal_components_are_as_fast_as_the_fill_allows():
    projected = on_lanes([1e-3] * 4096, 4096, 4096)
    assert projected.seconds == pytest.approx(1e-3 * (4096 + 4095))
    assert projected.bubble_share == pytest.approx(4095 / (4096 + 4095))


def test_a_deeper_network_repeats_the_inner_components():
    assert deeper([1.0, 2.0, 3.0, 9.0, 5.0], 8) == [1.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 5.0]
    assert deeper([1.0, 2.0], 2) == [1.0, 2.0]
    with pytest.raises(UsageError, match="components is 8 and there are task times of 2"):
        deeper([1.0, 2.0], 8)


def test_the_twin_has_the_bridge_in_the_middle():
    assert twin_layers(inputs=64, width=8, hidden_layers=2, classes=10) == [(64, 8), (8, 8), (8, 10)]
    assert twin_layers(inputs=64, width=8, hidden_layers=2, classes=10, bridge_width=40) == [
        (64, 8),
        (8, 40),
        (40, 8),
        (8, 10),
    ]
    assert operations([Layer(64, 8), Layer(8, 10)]) == 2 * 64 * 8 + 3 * 8 * 10


EQUAL = [Layer(8, 8)] * 16


@given(
    method=st.sampled_from(sorted(TURNS)),
    lanes=st.integers(1, 8),
    rounds=st.integers(1, 4),
    minibatches=st.integers(1, 9),
)
def test_pipelines_neither_lose_nor_invent_work(method, lanes, rounds, minibatches):
    """Between K times as fast and as slow as one lane, and N mini-batches are N times one."""
    turns = TURNS[method](lanes, lanes * rounds)
    projected = stages_on_lanes(turns, EQUAL, minibatches, minibatch_seconds=2.0, row_bytes=1.0)
    assert projected.lanes == lanes
    assert projected.busy_seconds == 2.0 * minibatches
    assert 2.0 * minibatches / lanes * (1 - 1e-9) <= projected.seconds <= 2.0 * minibatches * (1 + 1e-9)
    once = stages_on_lanes(turns, EQUAL, 1, minibatch_seconds=2.0, row_bytes=1.0)
    assert projected.seconds == pytest.approx(minibatches * once.seconds)


def test_equal_stages_lose_the_bubble_and_nothing_else():
    """The first layer is cheaper on its way back, so the shares here are of layers that are all alike but for that."""
    layers = [Layer(1, 8), *[Layer(8, 8)] * 4096]
    for method, bubble in (("gpipe", 7 / 39), ("1f1b", 7 / 39), ("interleaved-1f1b", 7 / 71)):
        projected = stages_on_lanes(TURNS[method](8, 32), layers, 1, minibatch_seconds=1.0, row_bytes=0.0)
        assert projected.bubble_share == pytest.approx(bubble, abs=2e-3)


def test_a_hand_over_costs_the_bytes_of_the_layer_that_is_cut():
    layers = [Layer(10, 1000), Layer(1000, 10)]
    slow = Link(bytes_per_second=1000.0)
    free, paid = (
        stages_on_lanes(TURNS["gpipe"](2, 1), layers, 1, minibatch_seconds=1.0, row_bytes=4.0, link=link)
        for link in (FREE, slow)
    )
    assert paid.seconds == pytest.approx(free.seconds + 2 * 4.0), "activations there, gradients back"


def test_more_stages_than_layers_are_refused():
    with pytest.raises(UsageError, match="3 stages and 2 linear layers"):
        stages_on_lanes(TURNS["gpipe"](3, 1), EQUAL[:2], 1, minibatch_seconds=1.0, row_bytes=0.0)


def test_depths_that_were_not_measured_lie_on_the_line():
    assert seconds_at_depth({2: 3.0, 8: 9.0}, 8) == 9.0
    assert seconds_at_depth({2: 3.0, 8: 9.0}, 32) == pytest.approx(33.0)
    assert seconds_at_depth({8: 9.0}, 32) is None, "one depth is no line"
    assert seconds_at_depth({2: 9.0, 8: 3.0}, 32) is None, "a step that gets shorter with depth"
