"""What a trace says of its spans."""

import pytest

from albench.errors import UsageError
from albench.trace import Span, Trace, bars


def trace(spans, *, unit="task", lane_kind="cpu-thread", **changes):
    about = {"title": "AL threads, 2 lanes", "sizes": "ℓ = 4", "host": "here", "machine": "two cores"}
    return Trace(spans=tuple(spans), unit=unit, lane_kind=lane_kind, **{**about, **changes})


def test_a_trace_knows_its_lanes_components_and_mini_batches():
    made = trace([Span(2, 5, 1, 3.0, 4.0), Span(0, 5, 0, 1.0, 2.0), Span(1, 5, 0, 2.0, 3.0), Span(0, 6, 0, 3.0, 3.5)])
    assert (made.lanes, made.components, made.minibatches) == (2, 3, 2)
    assert made.blocks == [range(0, 2), range(2, 3)]
    assert made.start_seconds == 1.0
    assert [span.component for span in made.spans] == [0, 1, 0, 2]


@pytest.mark.parametrize(
    "spans", [[], [Span(0, 0, 0, 2.0, 1.0)], [Span(0, 0, 0, float("nan"), 1.0)], [Span(0, -1, 0, 0.0, 1.0)]]
)
def test_what_cannot_be_is_refused(spans):
    with pytest.raises(UsageError):
        trace(spans)


def test_tasks_of_one_launch_on_a_lane_are_one_bar():
    spans = [Span(1, 0, 0, 0.0, 1.0), Span(0, 1, 0, 0.0, 1.0), Span(2, 0, 1, 0.0, 1.0), Span(0, 2, 0, 1.0, 2.0)]
    assert [(bar.lane, bar.tasks) for bar in bars(spans)] == [(0, ((0, 1), (1, 0))), (1, ((2, 0),)), (0, ((0, 2),))]
    assert [bar.seconds for bar in bars(spans)] == [1.0, 1.0, 1.0]
