"""The Gantt chart says what was measured, what is ideal, and on what; a long run is shown in parts."""

import io

import pytest
from matplotlib.image import imread

from albench.analysis.bubble import ideal_spans
from albench.report.gantt import gantt, parts_of
from albench.schedule import gpipe
from albench.trace import Span
from tests.analysis.test_bubble import actions
from tests.test_trace import trace


def late(spans, seconds=0.5):
    """Return spans with some waiting before each mini-batch on lane 1."""
    return [
        s._replace(start_seconds=s.start_seconds + seconds * s.lane, end_seconds=s.end_seconds + seconds * s.lane)
        for s in spans
    ]


def run(minibatches, lanes=2, seconds=1.0):
    return late(ideal_spans([seconds] * lanes, minibatches, [range(i, i + 1) for i in range(lanes)]))


def test_the_caption_has_both_shares_and_the_picture_has_size():
    made = gantt(trace(run(3)))
    assert "measured 33.3 %, ideal 25.0 %" in made.alt
    assert "task" in made.alt
    assert made.svg.startswith(b"<?xml")
    assert imread(io.BytesIO(made.png)).shape[1] >= 800, "readable at 800 pixels"


def test_an_ideal_that_is_longer_than_the_run_is_explained():
    """Most steps of this run take three seconds and some one: the median is three, the mean less."""
    ends = [3.0, 6.0, 9.0, 10.0, 11.0]
    spans = [Span(0, k, 0, start, end) for k, (start, end) in enumerate(zip([0.0, *ends], ends, strict=False))]
    words = gantt(trace(spans)).alt
    assert (
        "11\N{NARROW NO-BREAK SPACE}000 ms, ideal 15\N{NARROW NO-BREAK SPACE}000 ms. The ideal is the longer" in words
    )
    assert "the longer" not in gantt(trace(run(3))).alt


def test_a_run_is_shown_whole_or_in_parts_that_hold_its_beginning_and_its_end():
    assert len(parts_of(trace(run(12)), 13.5)) == 1
    assert [part.end for part in parts_of(trace(run(30)), 31.0)] == pytest.approx([31 / 3, 62 / 3, 31.0])
    first, middle, last = parts_of(trace(run(1000)), 1001.0)
    assert (first.start, last.end) == (0.0, 1001.0)
    assert first.end < middle.start < middle.end < last.start
    assert first.end == pytest.approx(14.0)
    wide, *_ = parts_of(trace(run(1000, lanes=20)), 1019.0)
    assert wide.end > 20, "the fill is seen to its end"


@pytest.mark.parametrize(
    "spans",
    [
        [Span(0, 0, 0, 5.0, 5.0)],
        [Span(0, 0, 0, 5.0, 6.0)],
        run(1, lanes=40),
        run(400, lanes=3, seconds=1e-6),
        [Span(0, k, 0, float(k), k + 1.0) for k in range(100)],
        [Span(0, 0, 0, 0.0, 1.0), Span(0, 1, 0, 1.0, 900.0), Span(0, 2, 0, 900.0, 901.0)],
    ],
    ids=["no time", "one task", "one mini-batch", "microseconds", "one lane", "one slow task"],
)
@pytest.mark.parametrize("unit", ["task", "tick"])
def test_any_trace_can_be_drawn(spans, unit):
    assert b"nan" not in gantt(trace(spans, unit=unit)).svg.lower()


def test_stages_are_drawn_with_what_they_do():
    made = gantt(trace(actions(gpipe(2, 4), minibatches=20), unit="action"))
    assert "(backward: hatched)" in made.alt
    assert "In each part" in made.reading


def test_the_same_trace_gives_the_same_bytes():
    assert gantt(trace(run(40))) == gantt(trace(run(40)))
