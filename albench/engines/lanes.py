"""Lanes on a CUDA device: streams, with or without multiprocessors of their own.

Kernels on different streams may run at once where the device has room. That is all a plain stream promises: one large
kernel fills the device, and whatever is on the other streams waits. A share of the SMs (multiprocessors) gives a lane
a part of the device that nobody else uses, and so stands in for a device of its own.

The driver feeds streams through a few hardware queues, eight unless ``CUDA_DEVICE_MAX_CONNECTIONS`` says otherwise
before CUDA starts. Two lanes in one queue wait for each other for no reason.

On the CPU a lane is nothing: streams and events that do not wait. So the engines that run on lanes can be tested, all
but the overlap, on machines without a GPU.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch

from albench.component import ComponentNetwork
from albench.engines.batch import Batch
from albench.engines.engine import TaskEngine
from albench.engines.options import EngineOptions
from albench.engines.precision import workspace_note
from albench.errors import UsageError
from albench.machine import LaneKind

DEFAULT_QUEUES = 8
"""Hardware queues that the driver opens where ``CUDA_DEVICE_MAX_CONNECTIONS`` is not set."""
DISTINCT_STREAMS = 32
"""Streams of a device that torch hands out before it hands out the first one again."""


class NoStream:
    """A stream of the CPU: whatever is asked of it has been done already."""

    def wait_stream(self, stream: Any) -> None:
        """Wait for nothing."""

    def wait_event(self, event: Any) -> None:
        """Wait for nothing."""

    def record_event(self, event: Any) -> None:
        """Record nothing."""


class Lanes:
    """Streams to run tasks on, on one device."""

    def __init__(
        self,
        streams: list[Any],
        device: torch.device,
        *,
        notes: tuple[str, ...] = (),
        release: Callable[[], None] | None = None,
    ) -> None:
        self.streams = streams
        """One ``torch.cuda.Stream`` a lane."""
        self.notes = notes
        """What a user should know about these lanes."""
        self._device = device
        self._release = release

    def on(self, lane: int) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which work goes to the stream of a lane."""
        return torch.cuda.stream(self.streams[lane]) if self._device.type == "cuda" else contextlib.nullcontext()

    @contextlib.contextmanager
    def in_turn(self, lane: int) -> Iterator[None]:
        """Let work go to the stream of a lane, after what the caller's stream has and before what it gets next."""
        caller, stream = self.caller(), self.streams[lane]
        stream.wait_stream(caller)
        with self.on(lane):
            yield
        caller.wait_stream(stream)

    def caller(self) -> Any:
        """Return the stream that the caller works on."""
        return torch.cuda.current_stream(self._device) if self._device.type == "cuda" else NoStream()

    def event(self) -> Any:
        """Return an event that streams of this device record and wait for."""
        return torch.cuda.Event() if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Give back what the lanes hold of the device; they cannot be used again."""
        self.streams = []
        release, self._release = self._release, None
        if release is not None:
            release()


def cuda_lanes(count: int, device: torch.device, kind: LaneKind = "stream", sms: int | None = None) -> Lanes:
    """Return `count` lanes on a device.

    `kind` "stream": plain streams. "sm-share": streams on disjoint shares of the multiprocessors; raises `UsageError`
    where the device, its driver or this torch cannot do that. `sms`: multiprocessors of each share; None: as many as an
    even split gives.
    """
    if device.type != "cuda":
        return Lanes([NoStream() for _ in range(count)], device)
    if kind == "stream":
        streams = [torch.cuda.Stream(device) for _ in range(count)]  # type: ignore[no-untyped-call]
        return Lanes(streams, device, notes=_stream_notes(count))
    from albench.engines.shares import share_streams, unavailable_reason  # the driver: only where it is asked for

    reason = unavailable_reason(device)
    if reason is not None:
        raise UsageError(f"lane_kind is 'sm-share', and {reason} (or use lane_kind 'stream')")
    shares = share_streams(count, device, sms)
    note = f"SMs of each lane: {', '.join(map(str, shares.sms))}; {shares.leftover_sms} are left over"
    return Lanes(list(shares.streams), device, notes=(note, *_stream_notes(count)), release=shares.close)


def hardware_queues() -> int:
    """Return the hardware queues that CUDA opens, or opened, in this process."""
    setting = os.environ.get("CUDA_DEVICE_MAX_CONNECTIONS", "")
    return int(setting) if setting.isdigit() and int(setting) else DEFAULT_QUEUES


def _stream_notes(count: int) -> tuple[str, ...]:
    notes = []
    if count > hardware_queues():
        notes.append(
            f"{count} lanes share {hardware_queues()} hardware queues and wait for each other in them: set "
            f"CUDA_DEVICE_MAX_CONNECTIONS={min(count, DISTINCT_STREAMS)} before CUDA starts"
        )
    if count > DISTINCT_STREAMS:
        notes.append(f"{count} lanes share the {DISTINCT_STREAMS} streams that torch has for a device")
    workspaces = workspace_note()
    return (*notes, workspaces) if workspaces else tuple(notes)


class LaneEngine(TaskEngine):
    """An engine whose lanes are streams of the device that the network is on."""

    takes_sm_shares = True
    device_types: ClassVar[frozenset[str]] = frozenset({"cuda"})
    """Devices that it runs on; tests add the CPU, where all lanes are one."""

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        super().__init__(network, options)
        self.lane_kind = "sm-share" if options.lane_kind == "sm-share" else "cuda-stream"
        self._lanes = cuda_lanes(self.lanes, self.device, options.lane_kind, options.lane_sms)
        self._lanes_device = self.device
        self.notes += self._lanes.notes

    def _choose_lanes(self) -> int:
        self._check_device()
        return min(self.options.lanes or hardware_queues(), len(self.components))

    def _check_device(self) -> None:
        if self.device.type not in self.device_types:
            raise UsageError(
                f"engine {self.name!r} runs on a CUDA device and the network is on {self.device}: "
                "network.to('cuda') before the engine is made, or use engine 'threads'"
            )

    def fit(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches, as `Engine.fit` says; also refuses to where the lanes are gone."""
        self._check_ready()
        super().fit(batches)

    def _check_ready(self) -> None:
        """Refuse to run without lanes, and for a network that went elsewhere: lanes and rates stayed behind."""
        if not self._lanes.streams:
            raise UsageError("the engine is closed and has given its lanes back: make another one")
        if self.device != self._lanes_device:
            raise UsageError(
                f"the network moved from {self._lanes_device} to {self.device} after its engine was made: "
                "make the engine again"
            )

    def _close(self) -> None:
        self._lanes.close()
