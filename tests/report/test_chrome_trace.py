"""The JSON is what the Trace Event Format asks for, and says what was measured."""

import itertools
import json

import pytest

from albench.analysis.bubble import ideal_spans
from albench.report.chrome_trace import chrome_json
from albench.trace import Span
from tests.test_trace import trace

BLOCKS = [range(0, 2), range(2, 3)]


def strictly_parsed(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def parsed(spans, **about):
    found = strictly_parsed(chrome_json(trace(spans, **about)))
    events = found["traceEvents"]
    for event in events:
        assert event["ph"] in ("X", "M")
        assert {"name", "ts", "pid", "tid"} <= event.keys()
        assert all(isinstance(event[key], int) and event[key] > 0 for key in ("pid", "tid"))
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            assert event["cat"]
    names = {kind: {} for kind in ("process_name", "thread_name")}
    for event in events:
        if event["name"] in names:
            names[event["name"]][event["pid"], event["tid"]] = event["args"]["name"]
    tracks = {(event["pid"], event["tid"]) for event in events if event["ph"] == "X"}
    assert set(names["thread_name"]) == tracks, "every lane has a name"
    assert {pid for pid, _ in names["process_name"]} == {pid for pid, _ in tracks}
    return found, [event for event in events if event["ph"] == "X"], names


def shifted(spans, seconds):
    return [s._replace(start_seconds=s.start_seconds + seconds, end_seconds=s.end_seconds + seconds) for s in spans]


def test_every_task_is_an_event_on_the_track_of_its_lane():
    spans = shifted(ideal_spans([0.001, 0.002, 0.003], 2, BLOCKS), 4711.0)
    found, events, names = parsed(spans, notes=("a note",))
    assert {(event["name"], event["tid"]) for event in events} == {
        (f"task ({i}, {k})", 1 if i < 2 else 2) for i in range(3) for k in range(2)
    }
    first = events[0]
    assert (first["ts"], first["dur"], first["args"]) == (0, 1000.0, {"component": 0, "mini-batch": 0})
    assert names["thread_name"][1, 1] == "lane 0 (cpu-thread): components 0–1"
    assert names["thread_name"][1, 2] == "lane 1 (cpu-thread): component 2"
    assert names["process_name"] == {(1, 1): "here: AL threads, 2 lanes"}
    assert found["otherData"]["notes"] == "a note"
    assert found["otherData"]["bubble share, measured"] == found["otherData"]["bubble share, ideal"]


def test_events_of_a_lane_never_overlap_by_rounding():
    """A viewer would draw one inside the other."""
    seconds = itertools.accumulate(itertools.cycle([1e-9 / 3, 2e-6 / 7, 1e-4 / 9]), initial=1e5 / 3)
    edges = list(itertools.islice(seconds, 400))
    _, events, _ = parsed([Span(0, k, 0, *edge) for k, edge in enumerate(itertools.pairwise(edges))])
    for one, other in itertools.pairwise(events):
        assert round(1e3 * (one["ts"] + one["dur"])) <= round(1e3 * other["ts"])


def test_lanes_that_are_processes_are_processes():
    _, events, names = parsed(ideal_spans([0.1] * 3, 2, BLOCKS), lane_kind="process")
    assert {(event["pid"], event["tid"]) for event in events} == {(1, 1), (2, 1)}
    assert names["process_name"][2, 1] == "here, rank 1: AL threads, 2 lanes"


def test_actions_of_stages_that_lie_apart():
    spans = [Span(0, 3, 0, 0.0, 1.0, "F0"), Span(1, 3, 1, 1.0, 2.0, "F0"), Span(2, 3, 0, 2.0, 3.0, "B0")]
    _, events, names = parsed(spans, unit="action", lane_kind="process")
    assert [(event["name"], event["args"]) for event in events][2] == ("B0", {"stage": 2, "mini-batch": 3})
    assert names["thread_name"] == {
        (1, 1): "lane 0 (process): stages 0, 2",
        (2, 1): "lane 1 (process): stage 1",
    }


@pytest.mark.parametrize(("unit", "name"), [("tick", "2 tasks"), ("step", "step 1")])
def test_what_is_no_task_is_not_called_one(unit, name):
    _, events, _ = parsed([Span(0, 1, 0, 0.0, 1.0), Span(1, 0, 0, 0.0, 1.0)], unit=unit)
    assert [event["name"] for event in events] == [name]
