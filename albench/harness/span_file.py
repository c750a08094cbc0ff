"""Span file: the spans of one traced run on disk, as exact as they were taken, for a report to draw.

``trace.json`` beside it is for viewers: rounded to what they show, and in their words. This file is our own: one JSON
object with its format and version, what a reader has to know about the run, and a row a span, ``[component, mini-batch,
lane, start, end, action]``, in seconds from the first start.

Whoever reads one may have been given a damaged one, or somebody else's. So more is asked than that it can be parsed:
no more lanes, components and mini-batches than its spans can be of, or to draw it would take all memory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec

from albench.errors import UsageError, message_of
from albench.trace import Span, SpanUnit, Trace

FORMAT = "albench-trace"
VERSION = 1
"""Goes up where a field changes its meaning or goes away."""
FILE_NAME = "spans.json"
FOLDER = "traces"
"""Where traces lie beside the records of a run, a directory each."""

LARGEST_BYTES = 2**25
"""No trace is as large: 50,000 spans take some four megabytes."""
MOST_LANES = 512
"""More rows than a chart can be read in."""
LONGEST_SECONDS = 1e7
REMEDY = "trace the case again with `albench trace`"

Words = Annotated[str, msgspec.Meta(max_length=1000)]
Command = Annotated[str, msgspec.Meta(max_length=10_000)]


@dataclass(frozen=True, kw_only=True)
class TracedRun:
    """A trace, and what made it."""

    trace: Trace
    command: str
    """What was typed."""


class _SpanFile(msgspec.Struct, kw_only=True, frozen=True, tag_field="format", tag=FORMAT):
    """What the file holds; fields as in `Trace`."""

    version: int = VERSION
    command: Command
    unit: SpanUnit
    lane_kind: Words
    title: Words
    sizes: Words
    host: Words
    machine: Words
    notes: Annotated[tuple[Words, ...], msgspec.Meta(max_length=100)] = ()
    spans: tuple[Span, ...]


class _Header(msgspec.Struct, tag_field="format", tag=FORMAT):
    """What decides how the rest is read."""

    version: Annotated[int, msgspec.Meta(ge=1)]


def content(trace: Trace, *, command: str) -> bytes:
    """Return the content of the file of a trace; its spans count from the first start."""
    start = trace.start_seconds
    spans = tuple(
        span._replace(start_seconds=span.start_seconds - start, end_seconds=span.end_seconds - start)
        for span in trace.spans
    )
    return (
        msgspec.json.encode(
            _SpanFile(
                command=command,
                unit=trace.unit,
                lane_kind=trace.lane_kind,
                title=trace.title,
                sizes=trace.sizes,
                host=trace.host,
                machine=trace.machine,
                notes=trace.notes,
                spans=spans,
            )
        )
        + b"\n"
    )


def read(path: Path) -> TracedRun:
    """Return the traced run in a file; one that is damaged, foreign, newer or cannot be read is a `UsageError`."""
    try:
        if not path.is_file():
            raise UsageError(f"{path} is not there: {REMEDY}")
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise UsageError(f"{path} has {size} bytes, more than any trace: {REMEDY}")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}): check its name and permissions") from None
    try:
        version = msgspec.json.decode(data, type=_Header).version
        if version > VERSION:
            raise UsageError(f"{path} has trace version {version}, this albench reads up to {VERSION}: update it")
        found = msgspec.json.decode(data, type=_SpanFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no trace of albench ({message_of(error, 200)}): {REMEDY}") from None
    trace = Trace(
        spans=found.spans,
        unit=found.unit,
        lane_kind=found.lane_kind,
        title=found.title,
        sizes=found.sizes,
        host=found.host,
        machine=found.machine,
        notes=found.notes,
    )
    if fault := _fault(trace):
        raise UsageError(f"{path} is no trace of albench ({fault}): {REMEDY}")
    return TracedRun(trace=_printable(trace), command=found.command)


def _fault(trace: Trace) -> str:
    """Return what no run can have left; empty where there is nothing."""
    count = len(trace.spans)
    longest = max(max(abs(span.start_seconds), abs(span.end_seconds)) for span in trace.spans)
    if longest > LONGEST_SECONDS:
        return f"a span at {longest:g} s"
    if trace.lanes > MOST_LANES:
        return f"{trace.lanes} lanes, where a chart has at most {MOST_LANES}"
    if trace.components > count or trace.minibatches > count:
        return f"{trace.components} components and {trace.minibatches} mini-batches in {count} spans"
    # A task is a span: what an ideal schedule would run must not be more than what ran.
    tasks = trace.minibatches * sum(map(len, trace.blocks))
    if trace.unit in ("task", "step") and tasks > 2 * count:
        return f"{tasks} tasks in {count} spans"
    return ""


def _printable(trace: Trace) -> Trace:
    """Return the trace without control characters, of which no font has a picture."""

    def shown(text: str) -> str:
        return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)

    return replace(
        trace,
        lane_kind=shown(trace.lane_kind),
        title=shown(trace.title),
        sizes=shown(trace.sizes),
        host=shown(trace.host),
        machine=shown(trace.machine),
        notes=tuple(map(shown, trace.notes)),
    )
