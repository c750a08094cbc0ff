"""Chrome trace: the spans of a run in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (in short: a JSON object
with a list of events; "X" is something with a start `ts` and a length `dur`, both in microseconds, "M" a name).

A lane is a track. Lanes that are processes of their own are tracks of different processes, all others of one. The
numbers of processes and threads are made up, from 1 on (viewers take 0 for an idle core), and each is named.
"""

from __future__ import annotations

import json
from typing import Any

from albench.analysis.bubble import bubble_share, ideal
from albench.trace import Bar, Trace, bars

Event = dict[str, Any]


def chrome_json(trace: Trace) -> str:
    """Return a trace as JSON; time 0 is the first start."""
    about = {
        "run": f"{trace.title}, {trace.sizes}",
        "lane kind": trace.lane_kind,
        "a span is": f"a {trace.unit}",
        "host": trace.host,
        "machine": trace.machine,
        "time 0 on the clock of time.perf_counter, in seconds": repr(trace.start_seconds),
        "bubble share, measured": f"{bubble_share(trace.spans):.4f}",
        "bubble share, ideal": f"{bubble_share(ideal(trace)):.4f}",
        "notes": "; ".join(trace.notes),
    }
    content = {"displayTimeUnit": "ms", "otherData": about, "traceEvents": events(trace)}
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def events(trace: Trace) -> list[Event]:
    """Return the events of a trace: names first, then what ran in the order of the starts."""
    return [*_names(trace), *(_event(bar, trace) for bar in bars(trace.spans))]


def _place(lane: int, trace: Trace) -> dict[str, int]:
    """Return the process and the thread that stand for a lane."""
    apart = trace.lane_kind == "process"
    return {"pid": lane + 1, "tid": 1} if apart else {"pid": 1, "tid": lane + 1}


def _names(trace: Trace) -> list[Event]:
    named: list[Event] = []
    for lane, own in enumerate(trace.components_of_lanes):
        place = _place(lane, trace)
        if place["tid"] == 1:
            rank = f", rank {lane}" if trace.lane_kind == "process" else ""
            named.append(_name("process_name", place, name=f"{trace.host}{rank}: {trace.title}"))
            named.append(_name("process_sort_index", place, sort_index=place["pid"]))
        what = "steps" if trace.unit == "step" else _listed("stage" if trace.unit == "action" else "component", own)
        named.append(_name("thread_name", place, name=f"lane {lane} ({trace.lane_kind}): {what}"))
        named.append(_name("thread_sort_index", place, sort_index=place["tid"]))
    return named


def _name(kind: str, place: dict[str, int], **arguments: Any) -> Event:
    return {"name": kind, "ph": "M", "ts": 0, **place, "args": arguments}


def _listed(noun: str, own: list[int]) -> str:
    if len(own) == 1:
        return f"{noun} {own[0]}"
    in_a_row = own == list(range(own[0], own[-1] + 1))
    return f"{noun}s {own[0]}–{own[-1]}" if in_a_row else f"{noun}s {', '.join(map(str, own))}"


def _event(bar: Bar, trace: Trace) -> Event:
    # In whole nanoseconds, so that what follows on a lane does not begin, by a rounding, before what went before ends.
    start, end = (round((s - trace.start_seconds) * 1e9) for s in (bar.start_seconds, bar.end_seconds))
    component, minibatch = bar.tasks[0]
    arguments: dict[str, Any] = {"component": component, "mini-batch": minibatch}
    if trace.unit == "step":
        name, arguments = f"step {minibatch}", {"mini-batch": minibatch}
    elif trace.unit == "action":
        name, arguments = bar.action, {"stage": component, "mini-batch": minibatch}
    elif trace.unit == "tick":
        count = len(bar.tasks)
        name = f"{count} task{'' if count == 1 else 's'}"
        arguments = {"tasks (component, mini-batch)": ", ".join(f"({i}, {k})" for i, k in bar.tasks)}
    else:
        name = f"task ({component}, {minibatch})"
    times = {"ts": start / 1e3, "dur": (end - start) / 1e3}
    return {"name": name, "cat": trace.unit, "ph": "X", **times, **_place(bar.lane, trace), "args": arguments}
