"""Direct: the link between two lanes that are processes with a GPU each, from one device's memory to the other's.

    lane ──► layout over the wire (gloo) ─────────────────────────────────► next lane
         ──► tensors over NCCL, on a stream beside the lane's ────────────►

The wire tells the next lane what comes, so that it has the memory ready; the tensors never touch the host, and no host
waits for a device. A sender keeps what is on its way: before it sends mini-batch k, its stream waits for k - 2 to have
left, which is when those tensors may be used for something else.

Two processes on one GPU cannot do this (NCCL refuses them); they hand on through the host's memory.

Not tested on GPUs: the machines at hand had one at most. What is tested is everything but NCCL itself, with gloo in its
place.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore

from albench.engines.job import Job
from albench.engines.layout import in_storage_order
from albench.engines.message import Message, describe, head, read_head, rebuild
from albench.engines.wire import PATIENCE, WireReader, WireWriter

IN_FLIGHT = 2
"""Mini-batches that may be on their way while the lane goes on."""
TAG = 2


def nccl_group(job: Job) -> Any:
    """Return an NCCL group of all ranks that is nobody's default."""
    from torch.distributed.distributed_c10d import ProcessGroupNCCL

    group: Any = ProcessGroupNCCL
    options = group.Options()
    # NCCL's own watchdog ends the process without a word; who has died is the job's to find out.
    options._timeout = PATIENCE
    return group(PrefixStore("nccl", job.store), job.rank, job.size, options)


def distinct_devices(devices: Sequence[str]) -> bool:
    """Whether the ranks' devices, by identity, are GPUs and no two are the same."""
    return all(devices) and len(set(devices)) == len(devices)


def device_identity(device: torch.device) -> str:
    """Return what names a GPU on all hosts; empty for the CPU."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else ""


class DirectWriter:
    """The side that hands on."""

    def __init__(self, wire: WireWriter, group: Any, peer: int) -> None:
        self._wire = wire
        self._group = group
        self._peer = peer
        self._on_their_way: deque[tuple[list[Tensor], list[Any]]] = deque()

    def put(self, message: Message) -> None:
        """Hand on a message. Raises `PeerGoneError`."""
        layout, tensors = describe(message)
        self._wire.put_bytes(head(message, layout))
        if len(self._on_their_way) == IN_FLIGHT:
            self._settle()
        tensors = [in_storage_order(tensor) for tensor in tensors]
        self._on_their_way.append((tensors, [self._group.send([t], self._peer, TAG) for t in tensors]))

    def finish(self, minibatches_seen: int) -> None:
        """Say that nothing more comes in this call of ``fit``."""
        self._wire.finish(minibatches_seen)
        while self._on_their_way:
            self._settle()

    def _settle(self) -> None:
        """Let this stream wait until the oldest message has left, then give its memory back."""
        _, works = self._on_their_way.popleft()
        for work in works:
            work.wait()

    def abort(self) -> None:
        """Wake whoever waits here, on the host and on the device."""
        self._wire.abort()
        _abort(self._group)

    def close(self) -> None:
        """End the link."""
        self._wire.close()


class DirectReader:
    """The side that takes."""

    def __init__(self, wire: WireReader, group: Any, peer: int, device: torch.device) -> None:
        self._wire = wire
        self._group = group
        self._peer = peer
        self._device = device
        # Receiving beside the lane's own stream: mini-batch k + 1 arrives while k is computed.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    @property
    def minibatches_seen(self) -> int:
        """Mini-batches that the writer had seen when it finished."""
        return self._wire.minibatches_seen

    def __iter__(self) -> Iterator[Message]:
        """Yield messages until the writer finishes. Raises `PeerGoneError`."""
        for body in self._wire.bodies():
            minibatch, rate, layout = read_head(body)
            with torch.cuda.stream(self._stream) if self._stream is not None else contextlib.nullcontext():
                tensors = layout.empty(self._device)
                memories = map(in_storage_order, tensors)
                for work in [self._group.recv([memory], self._peer, TAG) for memory in memories]:
                    work.wait()
            if self._stream is not None:
                own = torch.cuda.current_stream(self._device)
                own.wait_stream(self._stream)
                for tensor in tensors:
                    tensor.record_stream(own)
            yield Message(minibatch, rate, *rebuild(layout, tensors))

    def abort(self) -> None:
        """Wake whoever waits here, on the host and on the device."""
        self._wire.abort()
        _abort(self._group)

    def close(self) -> None:
        """End the link."""
        self._wire.close()


def _abort(group: Any) -> None:
    # A receive whose sender has died occupies the device until its communicator is given up.
    with contextlib.suppress(RuntimeError):
        group.abort()
