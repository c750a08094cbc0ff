"""Processes: how children are made from a server that has torch loaded, and how they end with their parent.

A fresh process that has to import torch costs seconds. A forkserver imports it once and never runs an operator of it;
each child is then a fork of the forkserver, which costs some hundredths of a second and shares no thread, no allocator
and no cache with anybody. The forkserver ends when nobody can ask it for another child.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from multiprocessing import connection, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import NamedTuple

PARENT_DIED = 3
"""Exit status of a child that ended itself because its parent was gone."""
CHILD_VARIABLES = {"OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "20000"}
"""Set for every child unless the user set them. One OpenBLAS thread, so that the forkserver has no threads as it forks.
OpenMP's threads wait for each other by spinning, by default almost without end: on two cores of which something else
wants one, an operator on two threads then takes a hundred times as long (seen: 207 ms for 1.8 ms). Spinning for some
tens of microseconds and then sleeping costs nothing at large layers and a tenth at layers so small that one thread is
faster anyway."""
KILL_SECONDS = 10.0
"""How long a killed process may take to be gone."""

_preload: set[str] = set()
_starting = threading.RLock()
"""Held while a child is started: the main module and the environment are the whole process's, and two threads that
borrowed them at once would give back what the other had lent."""


def _forked() -> None:
    """Let a forked child have a forkserver of its own: its parent's is not its child, and cannot be waited for."""
    global _starting
    _starting = threading.RLock()  # whoever held it was not copied
    state = vars(multiprocessing.forkserver._forkserver)
    state["_forkserver_pid"] = None
    state.pop("ensure_running", None)  # a borrowed one is the parent's (`use_server`)


os.register_at_fork(after_in_child=_forked)


def leave_uncollected() -> None:
    """Take everything that stands now out of the garbage collector's sight, for the life of this process.

    A child that trains calls this when all is made: the collector would look at hundreds of thousands of objects again
    and again, in the middle of a timed window, in which the parent's own collector rests.
    """
    gc.collect()
    gc.freeze()


def forkserver(*preload: str) -> ForkServerContext:
    """Return the multiprocessing context of children that find the modules `preload` imported.

    A process has one forkserver. It imports what was asked for before its first child; later wishes come too late and
    cost the children an import.
    """
    server = multiprocessing.get_context("forkserver")
    _preload.update(preload)
    server.set_forkserver_preload(sorted(_preload))
    return server


def watch_parent() -> None:
    """End this process as soon as its parent is gone, however the parent ended."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(PARENT_DIED)

    threading.Thread(target=watch, name="albench-parent-watch", daemon=True).start()


def end_process(process: BaseProcess, grace_seconds: float) -> None:
    """Make sure that a child is gone: by itself within `grace_seconds`, or killed."""
    process.join(grace_seconds)
    if process.exitcode is None:
        process.kill()
        process.join(KILL_SECONDS)


def describe_exit(code: int | None) -> str:
    """Return how a process ended, from its exit code as multiprocessing gives it."""
    if code is not None and code < 0:
        names = {number.value: number.name for number in signal.Signals}  # most real-time signals have none
        return f"ended by signal {names.get(-code, -code)}"
    return f"ended with exit status {code}"


class ServerAddress(NamedTuple):
    """Where a forkserver listens."""

    address: str
    key: bytes | None
    """What whoever asks it for a child must know, from Python 3.14 on."""


def server_address() -> ServerAddress:
    """Return where this process's forkserver listens, so that a child can `use_server`; starts it if need be."""
    with nameless_main(), child_environment():
        multiprocessing.forkserver.ensure_running()
    state = vars(multiprocessing.forkserver._forkserver)
    return ServerAddress(state["_forkserver_address"], state.get("_forkserver_authkey"))


def use_server(server: ServerAddress) -> None:
    """Let this process, itself a child of that forkserver, ask it for children too.

    One of its own would have to import torch first. The server lives as long as anybody who can ask it, and these
    children are this process's as any other's would be: they see its end, and it sees theirs.
    """
    vars(multiprocessing.forkserver._forkserver).update(
        _forkserver_address=server.address,
        _forkserver_authkey=server.key,
        ensure_running=resource_tracker.ensure_running,  # it is not this process's child, and cannot be waited for
    )


@contextlib.contextmanager
def nameless_main() -> Iterator[None]:
    """Keep the caller's script out of children that are started meanwhile.

    multiprocessing imports the parent's main module into every child. A child that needs nothing of it is spared: the
    script may be slow to import, and without a main guard it would run again.
    """
    with _starting:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


@contextlib.contextmanager
def child_environment() -> Iterator[None]:
    """Start the forkserver, and so every child, under `CHILD_VARIABLES`; leave the caller's environment as it was."""
    with _starting:
        missing = {name: value for name, value in CHILD_VARIABLES.items() if name not in os.environ}
        os.environ.update(missing)
        try:
            yield
        finally:
            for name in missing:
                del os.environ[name]
