"""Channel: the bounded queue between two lanes.

A lane that is ahead waits, so memory stays bounded by capacity × lanes mini-batches. A channel ends in one of two
ways: `finish` lets the reader take what is left and then stop; `abort` stops writer and reader at once, which is how
a failure in one lane wakes all others. Nobody polls and nobody waits for ever.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

CAPACITY = 4
"""Mini-batches in flight between two lanes: enough to even out unequal task times, few enough to stay in the cache."""


class Aborted(Exception):  # noqa: N818 - not an error of its own: some lane failed, and that failure is reported
    """The channel was aborted while waiting."""


class Channel(Generic[T]):
    """A bounded first-in-first-out queue with one writer and one reader."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._finished = False
        self._aborted = False

    def put(self, item: T) -> None:
        """Append an item, waiting while the channel is full. Raises `Aborted`."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._aborted:
                self._changed.wait()
            if self._aborted:
                raise Aborted
            self._items.append(item)
            self._changed.notify_all()

    def finish(self) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake writer and reader and drop what is queued."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield items until the writer finished. Raises `Aborted`."""
        while True:
            with self._changed:
                while not self._items and not self._finished and not self._aborted:
                    self._changed.wait()
                if self._aborted:
                    raise Aborted
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
