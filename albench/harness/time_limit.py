"""Time limit: an end to work in this process that may hang.

An alarm interrupts the main thread as Ctrl-C does, so that engines end their threads and processes the way they do
then. Work that does not answer, because it waits inside a library, is ended some seconds later together with this
process, with the same one line; whatever it has started watches for that (`albench.process.watch_parent`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

from albench.errors import UsageError

LONGEST_SECONDS = 1e7
"""Four months."""
GRACE_SECONDS = 20.0
"""How long interrupted work may take to end: engines wait some seconds for each of their processes."""
STATUS = 2
"""Exit status of a process that has to be ended, as of any bad input."""


def time_limit(
    seconds: float, *, remedy: str, grace_seconds: float = GRACE_SECONDS
) -> contextlib.AbstractContextManager[None]:
    """Return a context whose work is ended after `seconds`, with a `UsageError` that names them and `remedy`.

    Only the main thread can be interrupted. Raises `UsageError` at once for what is no time.
    """
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(f"limit is {seconds:g}: give seconds above 0 and at most {LONGEST_SECONDS:g}")
    return _limited(seconds, f"not done after its limit of {seconds:g} s: {remedy}", grace_seconds)


@contextlib.contextmanager
def _limited(seconds: float, message: str, grace_seconds: float) -> Iterator[None]:
    expired = threading.Event()

    def interrupt(*_: object) -> None:
        expired.set()
        raise KeyboardInterrupt

    def end() -> None:
        os.write(2, f"albench: {message}\n".encode())
        os._exit(STATUS)

    last = threading.Timer(seconds + grace_seconds, end)
    last.daemon = True
    handler = signal.signal(signal.SIGALRM, interrupt)
    begun = time.monotonic()
    before, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    last.start()
    try:
        yield
    except BaseException:
        if not expired.is_set():
            raise
    finally:
        # Whoever had set an alarm before gets what is left of it.
        left = max(1e-3, before - (time.monotonic() - begun)) if before else 0.0
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, left, interval)
        last.cancel()
    if expired.is_set():
        raise UsageError(message)
