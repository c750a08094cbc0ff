"""Span log: how engines record when tasks ran, if they are asked to; if not, nothing of this exists.

A log has one writer, the lane that its component lies on, and so needs no lock; the engine puts the logs together when
somebody reads them. It keeps so many spans and then no more, so that a run of any length stays as small as it was.

On the host a start and an end are readings of ``time.perf_counter``, which all processes of a host share. On a GPU the
host is long gone when a task runs: there they are CUDA events on the task's own stream, which the device stamps as it
comes to them, and a span is what the device needed. What an event means on the host's clock is known from an anchor, an
event that the host waited for at the beginning of the run (`anchor_watches`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import torch

from albench.schedule import Task
from albench.trace import Span

SPANS_KEPT = 200_000
"""Spans that one engine keeps, of the first mini-batches: some tens of megabytes, and as much as a viewer can take."""
ANCHORS = 5
"""Tries of an anchor; the one that the host waited for the shortest time is believed."""


class Watch(Protocol):
    """Marks moments where tasks run."""

    def mark(self) -> Any:
        """Return a mark of now: of what runs next and what ran last."""

    def seconds(self, mark: Any) -> float:
        """Return when a mark was passed, on the clock of ``time.perf_counter``; waits until it is."""


class HostWatch:
    """Marks moments of the host: where a task is over when the call that runs it returns."""

    mark = staticmethod(time.perf_counter)

    def seconds(self, mark: float) -> float:
        """Return the mark, which is a reading of the clock."""
        return mark


class _Anchor(NamedTuple):
    """An event whose moment is known on the host's clock."""

    event: Any
    seconds: float


class DeviceWatch:
    """Marks moments of a GPU, on the stream that is current when `mark` is called."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.anchor()

    def anchor(self) -> None:
        """Find out anew what the host's clock shows when the device passes an event; waits for the device.

        Times between events are single-precision milliseconds, exact to a microsecond for some ten seconds.
        """
        torch.cuda.synchronize(self._device)
        tries = []
        for _ in range(ANCHORS):
            event = self._event()
            before = time.perf_counter()
            event.record(torch.cuda.current_stream(self._device))
            event.synchronize()
            after = time.perf_counter()
            tries.append((after - before, _Anchor(event, (before + after) / 2)))
        self._anchor = min(tries, key=lambda one: one[0])[1]

    def mark(self) -> tuple[_Anchor, Any]:
        """Return an event that the current stream passes next."""
        event = self._event()
        event.record(torch.cuda.current_stream(self._device))
        return self._anchor, event

    def seconds(self, mark: tuple[_Anchor, Any]) -> float:
        """Return when the device passed an event, on the host's clock; waits until it has."""
        anchor, event = mark
        event.synchronize()
        return anchor.seconds + float(anchor.event.elapsed_time(event)) / 1e3

    def _event(self) -> Any:
        return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


_device_watches: dict[torch.device, DeviceWatch] = {}
_making = threading.Lock()


def watch_of(device: torch.device) -> Watch:
    """Return the watch of a device: one for each GPU, so that its lanes are seen by the same clock."""
    if device.type != "cuda":
        return HostWatch()
    with _making:
        if device not in _device_watches:
            _device_watches[device] = DeviceWatch(device)
        return _device_watches[device]


def anchor_watches() -> None:
    """Set the watches of all devices anew; at the beginning of a run that is traced."""
    for watch in _device_watches.values():
        watch.anchor()


class SpanLog:
    """The spans of what runs one after the other, written by one thread."""

    def __init__(self, watch: Watch, most: int) -> None:
        """`most`: spans that are kept; later ones are not."""
        self.mark = watch.mark
        """Returns a mark of now, for `add`."""
        self._watch = watch
        self._room = self._most = most
        self._pending: list[tuple[Any, Any, int, tuple[Task, ...], str]] = []
        self._spans: list[Span] = []

    def add(self, start: Any, end: Any, lane: int, tasks: Iterable[Task], action: str = "") -> None:
        """Keep a span a task of what ran on a lane between two marks. `action`: as of a `Span`."""
        if self._room <= 0:
            return
        self._pending.append((start, end, lane, tuple(tasks)[: self._room], action))
        self._room -= len(self._pending[-1][3])

    def spans(self) -> list[Span]:
        """Return the spans so far; waits for the device where they are its."""
        seconds = self._watch.seconds
        for start, end, lane, tasks, action in self._pending:
            start_seconds, end_seconds = seconds(start), seconds(end)
            self._spans += [Span(i, k, lane, start_seconds, end_seconds, action) for i, k in tasks]
        self._pending = []
        return list(self._spans)

    def clear(self) -> None:
        """Forget all spans."""
        self._pending, self._spans, self._room = [], [], self._most


def kept_of_each(components: int) -> int:
    """Return of how many mini-batches an engine of so many components keeps the spans."""
    return max(1, SPANS_KEPT // components)


def in_order(logs: Iterable[SpanLog]) -> list[Span]:
    """Return the spans of several logs in the order in which they ended."""
    spans = [span for log in logs for span in log.spans()]
    return sorted(spans, key=lambda span: span.end_seconds)
