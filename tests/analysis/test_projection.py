"""The projection: a replay through the same schedule, checked where it can be counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albench.analysis.projection import pipeline_seconds
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
