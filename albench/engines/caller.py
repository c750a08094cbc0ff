"""Caller: calls that may never come back, made in a thread that can be left behind.

A key-value store on another host answers in a fraction of a millisecond, until the cable is cut: then a call to it
waits for the network's own time limits, a quarter of an hour and more, and cannot be interrupted. So nobody makes such
a call in a thread that has something else to look after.
"""

from __future__ import annotations

import math
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.25
"""How often who waits looks whether it is still worth waiting."""
FAREWELL_SECONDS = 2.0
"""How long the thread may take to end; one that is stuck is left behind, and ends with the process."""


class Caller:
    """One thread that makes calls, one after the other."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(self._calls,), name=name, daemon=True)
        self._started = False
        self._closed = False
        self._finalizer = weakref.finalize(self, self._calls.put, None)  # dropped without close(), the thread ends too

    def call(self, function: Callable[[], T], *, patience_seconds: float, check: Callable[[], None] | None = None) -> T:
        """Return what `function` returns, or raise what it raises.

        `check` is called now and then while waiting, and what it raises ends the wait. Raises `TimeoutError` when the
        call has not come back in time; it goes on, and later calls wait behind it. Raises RuntimeError after `close`.
        """
        if self._closed:
            raise RuntimeError("nobody makes calls any more")
        call = _Call(function)
        self._calls.put(call)
        if not self._started:
            self._started = True
            self._thread.start()
        # Counted in looks and not by the clock: the time that this process was stopped is nobody's fault.
        for _ in range(math.ceil(patience_seconds / LOOK_SECONDS)):
            if call.done.wait(LOOK_SECONDS):
                break
            if check is not None:
                check()
        else:
            raise TimeoutError(f"no answer for {patience_seconds:g} s")
        if call.error is not None:
            raise call.error
        result: T = call.result
        return result

    def close(self) -> None:
        """End the thread, after the call that it is at."""
        self._closed = True
        self._finalizer()
        if self._started and threading.current_thread() is not self._thread:
            self._thread.join(FAREWELL_SECONDS)


def _work(calls: queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        try:
            call.result = call.function()
        except BaseException as error:
            call.error = error
        call.done.set()
        del call  # what it refers to lives no longer than whoever waits for it wants


class _Call:
    """One call and what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()
