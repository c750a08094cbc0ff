"""Isolation: a fresh process for every case, that cannot outlive its parent or its time limit.

A fresh process that has to import torch costs seconds. A forkserver imports it once and never runs an operator of it;
each case is then a fork of the forkserver, which costs some hundredths of a second and still shares no thread, no
allocator and no cache with the case before.

A case watches its parent: when the parent dies, however it dies, the case ends itself. The forkserver ends when nobody
can ask it for another case.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from albench.errors import UsageError
from albench.harness.environment import CASE_VARIABLES
from albench.harness.outcome import Failure, Outcome
from albench.harness.scenario import Scenario

PRELOAD = ["albench.harness.preload"]
PARENT_DIED = 3
"""Exit status of a case that ended itself because its parent was gone."""
EXIT_SECONDS = 2.0
"""How long a case that has answered may take to exit by itself."""
KILL_SECONDS = 10.0
"""How long a killed case may take to be gone."""


def context() -> ForkServerContext:
    """Return the multiprocessing context of the cases, with torch preloaded in its server."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    return server


def run_isolated(scenario: Scenario, *, data_dir: Path | None, limit_seconds: float) -> Outcome | Failure:
    """Measure a scenario in a fresh process; return the outcome, or why there is none. Never hangs."""
    server = context()
    receiver, sender = server.Pipe(duplex=False)
    process = server.Process(
        target=_case_main, args=(sender, msgspec.json.encode(scenario), str(data_dir) if data_dir else ""), daemon=True
    )
    with _nameless_main(), _case_environment():
        process.start()
    sender.close()
    grace_seconds = 0.0
    try:
        # The pipe is ready when the case has answered and also when it has died, which closes its end.
        if not receiver.poll(limit_seconds):
            return Failure(status="timed-out", reason=f"not done after its limit of {limit_seconds:g} s")
        grace_seconds = EXIT_SECONDS
        with contextlib.suppress(EOFError):
            return _answer(receiver.recv_bytes())
        process.join(EXIT_SECONDS)
        return _death(process)
    finally:
        receiver.close()
        _end(process, grace_seconds)


def _answer(message: bytes) -> Outcome | Failure:
    """Return what the case sent."""
    answer: Outcome | Failure = msgspec.json.decode(message, type=Outcome | Failure)
    return answer


def _death(process: BaseProcess) -> Failure:
    """Return the failure of a case that ended without a word."""
    code = process.exitcode
    if code == -signal.SIGKILL:
        return Failure(status="out-of-memory", reason="killed from outside, as the system does when memory runs out")
    if code is not None and code < 0:
        return Failure(status="failed", reason=f"ended by signal {signal.Signals(-code).name}")
    return Failure(status="failed", reason=f"ended with exit status {code} and no result")


def _end(process: BaseProcess, grace_seconds: float) -> None:
    """Make sure that the case's process is gone."""
    process.join(grace_seconds)
    if process.exitcode is None:
        process.kill()
        process.join(KILL_SECONDS)


def _case_main(sender: connection.Connection, scenario: bytes, data_dir: str) -> None:
    """Run in the case's process: measure and answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, and it ends this process
    _watch_parent()
    with contextlib.suppress(BrokenPipeError):
        sender.send_bytes(_measure(scenario, data_dir))
    sender.close()


def _measure(scenario: bytes, data_dir: str) -> bytes:
    import torch

    from albench.harness.case import measure

    try:
        outcome = measure(msgspec.json.decode(scenario, type=Scenario), data_dir=Path(data_dir) if data_dir else None)
    except UsageError as error:
        return msgspec.json.encode(Failure(status="failed", reason=str(error), usage=True))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return msgspec.json.encode(Failure(status="out-of-memory", reason=_one_line(error)))
    except Exception as error:
        if "can't allocate memory" in str(error):  # the CPU allocator's RuntimeError
            return msgspec.json.encode(Failure(status="out-of-memory", reason=_one_line(error)))
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{_one_line(error)} ({Path(where.filename).name}:{where.lineno})"
        return msgspec.json.encode(Failure(status="failed", reason=reason))
    return msgspec.json.encode(outcome)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _watch_parent() -> None:
    """End this process as soon as its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(PARENT_DIED)

    threading.Thread(target=watch, name="albench-parent-watch", daemon=True).start()


@contextlib.contextmanager
def _nameless_main() -> Iterator[None]:
    """Keep the caller's script out of the cases.

    multiprocessing imports the parent's main module into every child. A case needs nothing of it, it may be slow to
    import, and in a script without a main guard it would start the sweep again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _case_environment() -> Iterator[None]:
    """Start the forkserver, and so every case, under `CASE_VARIABLES`; leave the caller's environment as it was."""
    missing = {name: value for name, value in CASE_VARIABLES.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
