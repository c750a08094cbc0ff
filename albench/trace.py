"""Trace: when each task of a run really ran, on which lane. Pure data: no torch, no clocks, no files.

A span is one task (i, k) from its start to its end. Where tasks have no start of their own, because an engine runs all
tasks of a tick in one launch, they share the launch's, and the trace says so (`SpanUnit`). Back-propagation has no
tasks: its span is a whole step, or an action of a stage where it is pipelined. The engines record spans
(`albench.engines.span_log`), `albench.analysis.bubble` says what of the lanes' time they leave empty, and
`albench.report` draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from albench.errors import UsageError
from albench.schedule import Task

SpanUnit = Literal["task", "tick", "step", "action"]
"""What has a start and an end of its own: a task, a launch that holds the tasks of a tick, a step of BP, or what a
stage of pipelined BP does on a microbatch."""


class Span(NamedTuple):
    """When one task ran."""

    component: int
    """i; 0 for a step of back-propagation, and the stage where it is pipelined."""
    minibatch: int
    lane: int
    start_seconds: float
    """On the clock of ``time.perf_counter``."""
    end_seconds: float
    action: str = ""
    """Of a stage: forward "F3" or backward "B3" on microbatch 3; backward in two parts, to its input "I3" and to its
    weights "W3"; or its update "U"."""


class Bar(NamedTuple):
    """What ran on a lane from one moment to another: one task, or all tasks of one launch on that lane."""

    lane: int
    start_seconds: float
    end_seconds: float
    tasks: tuple[Task, ...]
    """In the order of their components."""
    action: str = ""
    """As of a span."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The spans of one run, from an empty to a drained pipeline, and what a reader has to know about them."""

    spans: tuple[Span, ...]
    """In the order in which they started."""
    unit: SpanUnit
    """What has a span of its own."""
    lane_kind: str
    """What a lane is, as the engine calls it."""
    title: str
    """Method, engine and lanes, such as "AL threads, 2 lanes"."""
    sizes: str
    """The network and the mini-batches, such as "ℓ = 8, width 512, batch 128 × 12"."""
    host: str
    """The name of the host."""
    machine: str
    """What it ran on, in words."""
    notes: tuple[str, ...] = ()
    """What a reader should know beside."""

    def __post_init__(self) -> None:
        """Refuse a trace that nothing can be said of, and spans that cannot be."""
        if not self.spans:
            raise UsageError("the trace has no spans: train on at least one mini-batch with trace=True")
        for span in self.spans:
            if not span.start_seconds <= span.end_seconds or min(span.component, span.minibatch, span.lane) < 0:
                raise UsageError(f"{span} cannot be: its end is before its start, or a number is below 0")
        object.__setattr__(self, "spans", tuple(sorted(self.spans, key=_by_start)))

    @property
    def lanes(self) -> int:
        """Lanes that have spans of their own; threads that share every operator are one."""
        return 1 + max(span.lane for span in self.spans)

    @property
    def components(self) -> int:
        """Components that have spans."""
        return 1 + max(span.component for span in self.spans)

    @property
    def minibatches(self) -> int:
        """N, mini-batches from the first to the last."""
        return 1 + max(span.minibatch for span in self.spans) - min(span.minibatch for span in self.spans)

    @property
    def blocks(self) -> list[range]:
        """The contiguous components of each lane."""
        return [range(min(own, default=0), max(own, default=-1) + 1) for own in self.components_of_lanes]

    @property
    def components_of_lanes(self) -> list[list[int]]:
        """The components of each lane; the stages, which may lie apart, where there are such."""
        found: list[set[int]] = [set() for _ in range(self.lanes)]
        for span in self.spans:
            found[span.lane].add(span.component)
        return [sorted(own) for own in found]

    @property
    def start_seconds(self) -> float:
        """When the first span started, on the clock of ``time.perf_counter``."""
        return self.spans[0].start_seconds


def bars(spans: tuple[Span, ...] | list[Span]) -> list[Bar]:
    """Return spans as what is to be seen on the lanes, in the order of their starts; tasks of a launch are one bar."""
    tasks: dict[tuple[int, float, float, str], list[Task]] = {}
    for span in sorted(spans, key=_by_start):
        place = (span.lane, span.start_seconds, span.end_seconds, span.action)
        tasks.setdefault(place, []).append((span.component, span.minibatch))
    return [Bar(lane, start, end, tuple(found), action) for (lane, start, end, action), found in tasks.items()]


def _by_start(span: Span) -> tuple[float, int, int]:
    return span.start_seconds, span.lane, span.component
