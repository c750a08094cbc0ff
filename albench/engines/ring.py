"""Ring: the link between two lanes of one machine that are processes, through memory that both of them see.

    writer ──► slot 0 │ slot 1 │ slot 2 ──► reader          one memory file without a name, mapped by both
           ──── one byte for a slot that is full ────►
           ◄─── one byte for a slot that is free ─────      a pair of connected sockets

A byte on the socket wakes the other side without polling; and when a process dies, however it dies, the system closes
its socket and the other side knows at once. The memory and the socket have no name in the file system, so nothing is
left behind. A message longer than a slot takes several.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from albench.engines.errors import PeerGoneError
from albench.engines.message import Message, end_parts, parts, read

SLOTS = 3
"""Two to work on, one on the way."""
PAGE_BYTES = 4096
CHECK_SECONDS = 0.25
"""How often a side that waits asks whether the job still stands."""
AVAILABLE = sys.platform == "linux"
"""Memory without a name and sockets in the abstract namespace are Linux's."""

Check = Callable[[], None]
"""Raises if the job has failed."""


class _Slots:
    """The memory of a ring and the socket beside it."""

    def __init__(self, connection: socket.socket, memory: int, slot_bytes: int, check: Check) -> None:
        connection.settimeout(CHECK_SECONDS)
        self._connection = connection
        self._check = check
        self._memory = mmap.mmap(memory, SLOTS * slot_bytes)  # with a descriptor of its own
        self._bytes = torch.frombuffer(self._memory, dtype=torch.uint8)
        self.slot_bytes = slot_bytes
        self._turns = 0  # slots passed on so far; the next one is this modulo SLOTS
        self._granted = 0  # slots that the other side has passed to us and we have not used

    def take(self) -> Tensor:
        """Return the next slot, uint8 ``[slot_bytes]``, once the other side has passed it on."""
        while self._granted == 0:
            try:
                received = self._connection.recv(SLOTS)
            except TimeoutError:
                self._check()
                continue
            except OSError as error:
                raise PeerGoneError(str(error)) from error
            if not received:
                raise PeerGoneError("the other side closed the link")
            self._granted += len(received)
        slot = self._turns % SLOTS
        return self._bytes[slot * self.slot_bytes : (slot + 1) * self.slot_bytes]

    def pass_on(self) -> None:
        """Give the slot that was taken to the other side."""
        self._granted -= 1
        self._turns += 1
        try:
            self._connection.sendall(b"\0")
        except OSError as error:
            raise PeerGoneError(str(error)) from error

    def grant(self, count: int) -> None:
        """Start with so many slots."""
        self._granted = count

    def close(self) -> None:
        """Close the socket; the memory goes when its last view does."""
        self._connection.close()


class RingWriter:
    """The side that hands on."""

    def __init__(self, slots: _Slots) -> None:
        slots.grant(SLOTS)
        self._slots = slots

    @classmethod
    def connect(cls, address: str, *, slot_bytes: int, check: Check) -> RingWriter:
        """Connect to a reader that listens on `address` and share a new ring with it. Raises `PeerGoneError`."""
        slot_bytes = -(-slot_bytes // PAGE_BYTES) * PAGE_BYTES
        memory = os.memfd_create("albench-ring", os.MFD_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.ftruncate(memory, SLOTS * slot_bytes)
            try:
                connection.connect(_abstract(address))
                socket.send_fds(connection, [slot_bytes.to_bytes(8, "little")], [memory])
            except OSError as error:
                raise PeerGoneError(f"nobody takes the link: {error}") from error
            return cls(_Slots(connection, memory, slot_bytes, check))
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(memory)

    def put(self, message: Message) -> None:
        """Hand on a message, waiting while the ring is full. Raises `PeerGoneError`."""
        self._write(parts(message))

    def finish(self, minibatches_seen: int) -> None:
        """Say that nothing more comes in this call of ``fit``."""
        self._write(end_parts(minibatches_seen))

    def _write(self, message: list[Tensor]) -> None:
        slot, position = self._slots.take(), 0
        for part in message:
            done = 0
            while done < len(part):
                if position == self._slots.slot_bytes:
                    self._slots.pass_on()
                    slot, position = self._slots.take(), 0
                count = min(len(part) - done, self._slots.slot_bytes - position)
                slot[position : position + count].copy_(part[done : done + count])
                position, done = position + count, done + count
        self._slots.pass_on()

    def close(self) -> None:
        """Close the link; the reader sees it."""
        self._slots.close()


class RingReader:
    """The side that takes."""

    def __init__(self, slots: _Slots, device: torch.device) -> None:
        self._slots = slots
        self._device = device
        self.minibatches_seen = 0
        """Mini-batches that the writer had seen when it finished."""

    def __iter__(self) -> Iterator[Message]:
        """Yield messages until the writer finishes. Raises `PeerGoneError`."""
        while True:
            message = self._read()
            if message is None:
                return
            yield message

    def _read(self) -> Message | None:
        slot, position = self._slots.take(), 0

        def fill(part: Tensor) -> None:
            nonlocal slot, position
            done = 0
            while done < len(part):
                if position == self._slots.slot_bytes:
                    self._slots.pass_on()
                    slot, position = self._slots.take(), 0
                count = min(len(part) - done, self._slots.slot_bytes - position)
                part[done : done + count].copy_(slot[position : position + count])
                position, done = position + count, done + count

        message = read(fill, self._device)
        self._slots.pass_on()
        if isinstance(message, Message):
            return message
        self.minibatches_seen = message
        return None

    def close(self) -> None:
        """Close the link; the writer sees it."""
        self._slots.close()


class RingListener:
    """Where a reader waits for its writer."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(_abstract(address))
        self._socket.listen(1)
        self._socket.settimeout(CHECK_SECONDS)

    def accept(self, *, device: torch.device, check: Check) -> RingReader:
        """Wait for the writer, who must be of the same user, and return the reading side of its ring.

        Raises `PeerGoneError`, and what `check` raises.
        """
        connection = self._accept(check)
        self.close()
        try:
            slot_bytes, memory = _receive_memory(connection, check)
            try:
                return RingReader(_Slots(connection, memory, slot_bytes, check), device)
            finally:
                os.close(memory)
        except BaseException:
            connection.close()
            raise

    def _accept(self, check: Check) -> socket.socket:
        while True:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                check()
                continue
            if _user_of(connection) == os.getuid():
                connection.settimeout(CHECK_SECONDS)
                return connection
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


def _receive_memory(connection: socket.socket, check: Check) -> tuple[int, int]:
    """Return the bytes of a slot and the descriptor of the memory, as the writer sends them."""
    while True:
        try:
            size, memories, _, _ = socket.recv_fds(connection, 8, 1)
        except TimeoutError:
            check()
        except OSError as error:
            raise PeerGoneError(str(error)) from error
        else:
            if not memories:
                raise PeerGoneError("the other side closed the link before it began")
            return int.from_bytes(size, "little"), memories[0]


def _abstract(address: str) -> bytes:
    return b"\0" + address.encode()


def _user_of(connection: socket.socket) -> int:
    """Return the user of the process on the other side."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)
