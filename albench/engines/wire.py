"""Wire: the link between two lanes that are processes on different hosts, over gloo's point-to-point messages.

    lane ──► channel of 2 ──► sender ── size, message ──► receiver ──► channel of 2 ──► next lane

A thread on each side does the waiting for the network, so a lane computes mini-batch k + 1 while k is on its way: the
double buffers are the channels. Messages go forward only; nothing ever comes back.

A side that ends the link, for whatever reason, sends the size 0 as its last word, and a receiver takes what comes until
then even if nobody wants it any more: no thread stays behind waiting for the network while both processes live.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from albench.engines.channel import Aborted, Channel
from albench.engines.errors import PeerGoneError
from albench.engines.message import Message, end_parts, finished, parts, read

BUFFERS = 2
"""Messages between a lane and the network."""
PATIENCE = timedelta(days=30)
"""gloo gives up after this; what ends a wait is the job, long before."""
FAREWELL_SECONDS = 5.0
"""How long a link that is closed may take to say its last word."""
SIZE_TAG, BODY_TAG = 0, 1

GlooGroup = Any
"""A ``ProcessGroupGloo``; torch's type hints leave out what it can do."""


class WireWriter:
    """The side that hands on."""

    def __init__(self, group: GlooGroup, peer: int) -> None:
        self._group = group
        self._peer = peer
        self._channel: Channel[Tensor] = Channel(BUFFERS)
        self._error = "the link was closed"
        self._thread = threading.Thread(target=self._send_all, name="albench-wire-send", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Hand on a message, waiting while the network is behind. Raises `PeerGoneError`."""
        self.put_bytes(torch.cat(parts(message)))

    def finish(self, minibatches_seen: int) -> None:
        """Say that nothing more comes in this call of ``fit``."""
        self.put_bytes(torch.cat(end_parts(minibatches_seen)))

    def put_bytes(self, body: Tensor) -> None:
        """Hand on uint8 ``[bytes]`` that begin as a message does. Raises `PeerGoneError`."""
        try:
            self._channel.put(body)
        except Aborted:
            raise PeerGoneError(self._error) from None

    def abort(self) -> None:
        """Wake whoever waits here; what has not been sent is dropped."""
        self._channel.abort()

    def close(self) -> None:
        """End the link, after what is on its way."""
        self._channel.finish()
        if self._thread is not threading.current_thread():  # where a collector may have dropped the engine
            self._thread.join(FAREWELL_SECONDS)

    def _send_all(self) -> None:
        try:
            try:
                for body in self._channel:
                    self._send(torch.tensor([len(body)]), SIZE_TAG)
                    self._send(body, BODY_TAG)
            except Aborted:
                pass
            self._send(torch.tensor([0]), SIZE_TAG)
        except RuntimeError as error:
            self._error = str(error)
            self._channel.abort()

    def _send(self, tensor: Tensor, tag: int) -> None:
        self._group.send([tensor], self._peer, tag).wait(PATIENCE)


class WireReader:
    """The side that takes."""

    def __init__(self, group: GlooGroup, peer: int, device: torch.device) -> None:
        self._group = group
        self._peer = peer
        self._device = device
        self._channel: Channel[Tensor] = Channel(BUFFERS)
        self._bodies = iter(self._channel)
        self._error = "the link was closed"
        self.minibatches_seen = 0
        """Mini-batches that the writer had seen when it finished."""
        self._thread = threading.Thread(target=self._receive_all, name="albench-wire-receive", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Message]:
        """Yield messages until the writer finishes. Raises `PeerGoneError`."""
        for body in self.bodies():
            message = read(_Pourer(body), self._device)
            assert isinstance(message, Message)
            yield message

    def bodies(self) -> Iterator[Tensor]:
        """Yield what the writer put, uint8 ``[bytes]``, until it finishes. Raises `PeerGoneError`."""
        while True:
            try:
                body = next(self._bodies, None)
            except Aborted:
                body = None
            if body is None:
                raise PeerGoneError(self._error)
            if (seen := finished(body)) is not None:
                self.minibatches_seen = seen
                return
            yield body

    def abort(self) -> None:
        """Wake whoever waits here."""
        self._channel.abort()

    def close(self) -> None:
        """Take no more, and wait for the writer's last word."""
        self._channel.abort()
        if self._thread is not threading.current_thread():  # where a collector may have dropped the engine
            self._thread.join(FAREWELL_SECONDS)

    def _receive_all(self) -> None:
        size = torch.zeros(1, dtype=torch.int64)
        try:
            while True:
                self._receive(size, SIZE_TAG)
                if not size.item():
                    self._channel.finish()
                    return
                body = torch.empty(int(size.item()), dtype=torch.uint8)
                self._receive(body, BODY_TAG)
                try:
                    self._channel.put(body)
                except Aborted:
                    continue  # nobody takes it, but the writer must not be left waiting
        except RuntimeError as error:
            self._error = str(error)
            self._channel.abort()

    def _receive(self, tensor: Tensor, tag: int) -> None:
        self._group.recv([tensor], self._peer, tag).wait(PATIENCE)


class _Pourer:
    """Fills tensors from a message, one after the other."""

    def __init__(self, body: Tensor) -> None:
        self._body = body
        self._position = 0

    def __call__(self, part: Tensor) -> None:
        part.copy_(self._body[self._position : self._position + len(part)])
        self._position += len(part)
