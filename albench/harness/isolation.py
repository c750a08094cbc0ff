"""Isolation: a fresh process for every case, that cannot outlive its parent or its time limit.

A case is a fork of a forkserver (`albench.process`) and shares no thread, no allocator and no cache with the case
before. It watches its parent: when the parent dies, however it dies, the case ends itself, and so do the processes that
its engine may have started.
"""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from albench.errors import UsageError, one_line, ran_out_of_memory
from albench.harness.free_memory import oom_kills
from albench.harness.memory_limit import MemoryLimit
from albench.harness.outcome import Failure, Outcome, Supplement
from albench.harness.scenario import Scenario
from albench.process import (
    ServerAddress,
    child_environment,
    describe_exit,
    end_process,
    forkserver,
    nameless_main,
    server_address,
    use_server,
    watch_parent,
)

PRELOAD = "albench.harness.preload"
KILLED = "killed from outside, by SIGKILL, and the system counted no kill for want of memory"
"""What is said of a case that somebody ended, as far as the system knows."""
EXIT_SECONDS = 2.0
"""How long a case that has answered may take to exit by itself."""
LOOK_SECONDS = 0.25
"""How often the free memory is looked at: a look takes some tens of microseconds, and no case fills gigabytes between
two looks."""


def run_isolated(
    scenario: Scenario,
    *,
    data_dir: Path | None,
    limit_seconds: float,
    limit_bytes: int | None = None,
    memory: bool = False,
) -> Outcome | Failure:
    """Measure a scenario in a fresh process; return the outcome, or why there is none. Never hangs.

    `limit_bytes` is what the case and all processes of its engine may hold together; None: most of what is free now
    (`albench.harness.memory_limit`). `memory`: whether the case then measures peak memory too, in a pass
    of its own (`albench.harness.memory_pass`) within the same limits; whatever happens there, the time that was
    measured before is kept.
    """
    deadline = time.monotonic() + limit_seconds
    kills = oom_kills()
    server = forkserver(PRELOAD)
    memory_limit = MemoryLimit(limit_bytes)
    receiver, sender = server.Pipe(duplex=False)
    process = server.Process(
        target=_case_main,
        args=(sender, msgspec.json.encode(scenario), str(data_dir) if data_dir else "", server_address(), memory),
    )
    grace_seconds = 0.0
    try:
        try:
            with nameless_main(), child_environment():
                process.start()
        except (OSError, EOFError) as error:
            return Failure(status="failed", reason=f"no process could be started for it: {one_line(error)}")
        sender.close()
        if failure := _watch(receiver, limit_seconds, memory_limit):
            return failure
        grace_seconds = EXIT_SECONDS
        with contextlib.suppress(EOFError):
            answer = _answer(receiver.recv_bytes())
            if memory and isinstance(answer, Outcome):
                return _with_memory(answer, process, receiver, deadline, memory_limit, kills)
            return answer
        process.join(EXIT_SECONDS)
        return _death(process, kills)
    finally:
        receiver.close()
        sender.close()
        if process.pid is not None:
            end_process(process, grace_seconds)


def _watch(receiver: connection.Connection, limit_seconds: float, memory_limit: MemoryLimit) -> Failure | None:
    """Wait until a case has answered or died; return why it has to be ended where it goes beyond its limits."""
    deadline = time.monotonic() + limit_seconds
    # The pipe is ready when the case has answered and also when it has died, which closes its end.
    while not receiver.poll(max(0.0, min(LOOK_SECONDS, deadline - time.monotonic()))):
        if time.monotonic() >= deadline:
            return Failure(status="timed-out", reason=f"not done after its limit of {limit_seconds:g} s")
        if reason := memory_limit.excess():
            return Failure(status="out-of-memory", reason=reason)
    return None


def run_here(scenario: Scenario, *, data_dir: Path | None) -> Outcome | Failure:
    """Measure a scenario in this process, without a limit; return the outcome, or why there is none."""
    return _answer(_measure(msgspec.json.encode(scenario), str(data_dir) if data_dir else ""))


def _answer(message: bytes) -> Outcome | Failure:
    """Return what the case sent."""
    answer: Outcome | Failure = msgspec.json.decode(message, type=Outcome | Failure)
    return answer


def _with_memory(
    outcome: Outcome,
    process: BaseProcess,
    receiver: connection.Connection,
    deadline: float,
    memory_limit: MemoryLimit,
    kills: int | None,
) -> Outcome:
    """Return the outcome with what the case sends after it, the peak memory, or with the reason why it has not."""
    if failure := _watch(receiver, max(deadline - time.monotonic(), 0.0), memory_limit):
        end_process(process, 0.0)
        late = failure.status == "timed-out"
        reason = "not done within the limit of the case" if late else failure.reason
        return msgspec.structs.replace(outcome, memory_reason=reason)
    try:
        found = msgspec.json.decode(receiver.recv_bytes(), type=Supplement | Failure)
    except EOFError:
        process.join(EXIT_SECONDS)
        return msgspec.structs.replace(outcome, memory_reason=_death(process, kills).reason)
    if isinstance(found, Failure):
        return msgspec.structs.replace(outcome, memory_reason=found.reason)
    return msgspec.structs.replace(outcome, memory=found.memory)


def _death(process: BaseProcess, kills: int | None) -> Failure:
    """Return the failure of a case that ended without a word. `kills`: those for want of memory, before it began."""
    code = process.exitcode
    if code == -signal.SIGKILL and (kills is None or oom_kills() != kills):
        return Failure(status="out-of-memory", reason="killed from outside, as the system does when memory runs out")
    if code == -signal.SIGKILL:
        return Failure(status="failed", reason=KILLED)
    return Failure(status="failed", reason=f"{describe_exit(code)}{' and no result' if (code or 0) >= 0 else ''}")


def _case_main(
    sender: connection.Connection, scenario: bytes, data_dir: str, address: ServerAddress, memory: bool
) -> None:
    """Run in the case's process: measure and answer, the time first so that nothing after it can cost it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, and it ends this process
    watch_parent()
    use_server(address)  # a method may run in processes of its own
    with contextlib.suppress(BrokenPipeError):
        answer = _measure(scenario, data_dir)
        sender.send_bytes(answer)
        if memory and isinstance(_answer(answer), Outcome):
            sender.send_bytes(_measure_memory(scenario, data_dir))
    sender.close()


def _measure(scenario: bytes, data_dir: str) -> bytes:
    from albench.harness.case import measure

    return _told(measure, scenario, data_dir)


def _measure_memory(scenario: bytes, data_dir: str) -> bytes:
    from albench.harness.memory_pass import measure_memory

    def measure(scenario: Scenario, *, data_dir: Path | None) -> Supplement:
        return Supplement(memory=measure_memory(scenario, data_dir=data_dir))

    return _told(measure, scenario, data_dir)


def _told(measure: Callable[..., Outcome | Supplement], scenario: bytes, data_dir: str) -> bytes:
    """Return the message of what was measured, or of why it could not be."""
    try:
        found = measure(msgspec.json.decode(scenario, type=Scenario), data_dir=Path(data_dir) if data_dir else None)
    except UsageError as error:
        return msgspec.json.encode(Failure(status="failed", reason=str(error), usage=True))
    except Exception as error:
        if ran_out_of_memory(error):
            return msgspec.json.encode(Failure(status="out-of-memory", reason=one_line(error)))
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{one_line(error)} ({Path(where.filename).name}:{where.lineno})"
        return msgspec.json.encode(Failure(status="failed", reason=reason))
    return msgspec.json.encode(found)
