"""Job: the processes that train one network together, and how each of them learns that another one died.

The processes, called ranks, share a key-value store of torch.distributed. Through it go the few words that are not
mini-batches: the plan of a run, who has arrived, and the first failure, which ends the job for all. Each rank writes a
heartbeat. A rank whose heart stands still for too long is declared dead by whoever notices first, so a process that was
stopped, or a host that lost its network, ends the job as surely as one that was killed.

Nobody waits without looking: whatever a rank waits for, it asks in between whether the job still stands. That holds for
the store itself, which falls silent when the network does.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from albench.engines.caller import LOOK_SECONDS, Caller
from albench.engines.errors import ComponentError, RankError
from albench.errors import UsageError, one_line
from albench.machine import launched_processes

FIRST_NAP_SECONDS, LONGEST_NAP_SECONDS = 1e-4, 5e-3
"""Sleep between two looks at a key that is awaited: short at first, because most keys come at once."""
ARRIVAL_SECONDS = 300.0
"""How long a rank may take to come: hosts do not start together, and torch takes seconds to import."""
PATIENCE_SECONDS = 3.0
"""How long to wait for the reason after a link broke: whoever broke it tells the store first, or its parent does."""
FAILURE = "failure"
LEFT = "left"
"""In place of a heartbeat: the rank has closed its engine."""


@dataclass(frozen=True, kw_only=True)
class RankFailure:
    """Why a job ended, as all ranks are told."""

    rank: int
    reason: str
    """What the rank did, to follow "rank 1 …"."""
    components: tuple[int, int] | None = None
    """First and one past the last component, if a component failed."""
    minibatch: int = 0
    usage: bool = False
    """Whether it is the user's to mend: the reason names the remedy."""

    @classmethod
    def of(cls, rank: int, error: BaseException) -> RankFailure:
        """Return the failure of a rank that met `error`."""
        if isinstance(error, ComponentError):
            cause = error.__cause__ or error
            span = (error.components.start, error.components.stop)
            return cls(rank=rank, reason=one_line(cause), components=span, minibatch=error.minibatch)
        if isinstance(error, UsageError):
            return cls(rank=rank, reason=str(error), usage=True)
        return cls(rank=rank, reason=f"failed: {one_line(error)}")

    def error(self) -> ComponentError | RankError | UsageError:
        """Return the exception that the other ranks raise."""
        if self.usage:
            return UsageError(f"rank {self.rank}: {self.reason}")
        if self.components is None:
            return RankError(self.rank, self.reason)
        cause = RankError(self.rank, self.reason)
        error = ComponentError(range(*self.components), self.minibatch, cause)
        error.__cause__ = cause
        return error


class Job:
    """One rank's view of the job."""

    def __init__(self, store: Store, *, rank: int, size: int, timeout_seconds: float) -> None:
        self.store = store
        self.rank = rank
        self.size = size
        self.timeout_seconds = timeout_seconds
        """A rank that shows no life for so long is dead."""
        self.watch: Callable[[], RankFailure | None] | None = None
        """What else to look at: a parent looks after its children."""
        self.on_failure: list[Callable[[], None]] = []
        """Called once, from the watching thread, when the job fails: what wakes those who wait."""
        self._failure: RankFailure | None = None
        self._left: int | None = None
        self._calls = 0
        self._closed = threading.Event()
        self._caller = Caller("albench-job-store")
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to show life and to look for it."""
        self._ask(lambda: self.store.set(f"beat/{self.rank}", "0"))  # it has come, and may not fall silent from here on
        # A store's calls stand in line: the looks have a connection of their own.
        store = self._ask(self.store.clone)
        self._thread = threading.Thread(target=self._look_after, args=(store,), name="albench-job", daemon=True)
        self._thread.start()

    def publish(self, key: str, value: Any) -> None:
        """Tell every rank something that JSON can say."""
        self._ask(lambda: self.store.set(key, json.dumps(value)))

    def read(self, key: str) -> Any:
        """Return what was published, waiting until it is. Raises what `check` raises."""
        nap_seconds = FIRST_NAP_SECONDS
        while True:
            self.check()
            left = self._left  # looked at before the key: what a rank said before it left counts
            if found := self._ask(lambda: self.store.check([key]) and self.store.get(key)):
                return json.loads(found)
            if left is not None:
                self.fail(RankFailure(rank=left, reason="closed its engine while others were at work"))
            time.sleep(nap_seconds)
            nap_seconds = min(2 * nap_seconds, LONGEST_NAP_SECONDS)

    def enter(self, call: str) -> None:
        """Begin a call that every rank makes. Raises `RankError` if another rank makes another one."""
        self._calls += 1
        first = self._ask(lambda: self.store.compare_set(f"call/{self._calls}", "", call)).decode()
        self.forget(f"call/{self._calls - 2}")  # over for all: nobody could be here otherwise
        if first != call:
            raise RankError(
                self.rank, f"called {call}() where another rank called {first}(): call the same on every rank"
            )

    def meet(self, place: str) -> None:
        """Wait until every rank has come here. A place is met at once only."""
        if self._ask(lambda: self.store.add(f"{place}/arrived", 1)) == self.size:
            self.publish(place, True)
        self.read(place)

    def forget(self, *keys: str) -> None:
        """Remove keys that no rank will read again, so that a long run does not fill the store."""
        with contextlib.suppress(ComponentError, RankError, UsageError):  # a job that has failed needs no tidying
            for key in keys:
                self._ask(functools.partial(self.store.delete_key, key))

    def fail(self, failure: RankFailure) -> RankFailure:
        """End the job for all, and return why it ended: the first failure counts."""
        said = json.dumps(vars(failure))
        with contextlib.suppress(RuntimeError, OSError):  # the store may have gone with its rank
            first = self._caller.call(
                lambda: self.store.compare_set(FAILURE, "", said), patience_seconds=PATIENCE_SECONDS
            )
            failure = _decoded(first)
        return self._failed(failure)

    def check(self) -> None:
        """Raise `ComponentError`, `RankError` or `UsageError` if the job has failed."""
        if self._failure is not None:
            raise self._failure.error()

    def reason(self, otherwise: RankFailure, *, patience_seconds: float = PATIENCE_SECONDS) -> RankFailure:
        """Return why the job failed after a link broke; `otherwise` if nobody says so in time."""
        deadline = time.monotonic() + patience_seconds
        while self._failure is None and time.monotonic() < deadline:
            time.sleep(LONGEST_NAP_SECONDS)
        return self._failure or self.fail(otherwise)

    def close(self) -> None:
        """Leave the job."""
        self._closed.set()
        # Dropped by a collector that runs in the watching thread, the job is closed from there.
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with contextlib.suppress(RuntimeError, OSError):
            self._caller.call(lambda: self.store.set(f"beat/{self.rank}", LEFT), patience_seconds=PATIENCE_SECONDS)
        self._caller.close()

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Call the store; say in one line that it is gone, if it is."""
        try:
            return self._caller.call(call, patience_seconds=self.timeout_seconds, check=self.check)
        except (ComponentError, RankError, UsageError):
            raise
        except (RuntimeError, OSError) as error:
            raise self.reason(_store_gone(error)).error() from error

    def _failed(self, failure: RankFailure) -> RankFailure:
        if self._failure is None:
            self._failure = failure
            for wake in self.on_failure:
                wake()
        return self._failure

    def _look_after(self, store: Store) -> None:
        caller = Caller("albench-job-looks")
        pulses = [_Pulse() for _ in range(self.size)]
        try:
            for turn in itertools.count(1):
                if self._closed.wait(LOOK_SECONDS) or self._failure is not None:
                    return
                try:
                    failure, beats = caller.call(
                        functools.partial(self._look, store, turn), patience_seconds=self.timeout_seconds
                    )
                except (RuntimeError, OSError) as error:
                    if not self._closed.is_set():
                        self._failed(_store_gone(error))
                    return
                failure = failure or self._silent(pulses, beats) or (self.watch() if self.watch is not None else None)
                if failure is not None:
                    self.fail(failure)
        finally:
            caller.close()

    def _look(self, store: Store, turn: int) -> tuple[RankFailure | None, list[str]]:
        """Show life, and return why the job failed, if it did, and the heartbeats of all ranks."""
        store.set(f"beat/{self.rank}", str(turn))
        if store.check([FAILURE]):
            return _decoded(store.get(FAILURE)), []
        keys = [f"beat/{rank}" for rank in range(self.size)]
        return None, [store.get(key).decode() if store.check([key]) else "" for key in keys]

    def _silent(self, pulses: Sequence[_Pulse], beats: Sequence[str]) -> RankFailure | None:
        """Return who has shown no life for too long, if anybody; note who has left."""
        for rank, (pulse, beat) in enumerate(zip(pulses, beats, strict=True)):
            if beat == LEFT:
                self._left = rank
            elif pulse.silent_seconds(beat) > (self.timeout_seconds if beat else ARRIVAL_SECONDS):
                reason = f"showed no life for {self.timeout_seconds:g} s" if beat else "did not come"
                return RankFailure(rank=rank, reason=reason)
        return None


class _Pulse:
    """How long a heartbeat has stood still, counted in own looks and not by the clock.

    After a pause of the whole machine, or Ctrl-Z and ``fg``, the others are not blamed for the time that this process
    slept as well.
    """

    def __init__(self) -> None:
        self._beat = ""
        self._looks = 0

    def silent_seconds(self, beat: str) -> float:
        """Take one look, and return for how long nothing has changed."""
        self._looks = self._looks + 1 if beat == self._beat else 0
        self._beat = beat
        return self._looks * LOOK_SECONDS


def joined_store() -> tuple[Store, int, int]:
    """Return store, rank and size of the job that ``torchrun`` started this process for."""
    if torch.distributed.is_initialized():
        store = torch.distributed.distributed_c10d._get_default_store()
        return store, torch.distributed.get_rank(), torch.distributed.get_world_size()
    if not _rendezvous:
        _rendezvous.append(next(rendezvous("env://", timeout=timedelta(minutes=5))))
    store, rank, size = _rendezvous[0]
    return store, rank, size


_rendezvous: list[tuple[Store, int, int]] = []
"""Made once in a process: the one that holds the store listens on the port."""
_jobs = 0


def joined_job(timeout_seconds: float) -> Job:
    """Return the job of this process as ``torchrun`` started it: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set.

    Every rank makes its engines in the same order; each of them is a job of its own on the same store.
    """
    global _jobs
    store, rank, size = joined_store()
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    _jobs += 1
    own = PrefixStore(f"albench/{attempt}/{_jobs}", store)
    return Job(own, rank=rank, size=size, timeout_seconds=timeout_seconds)


def was_launched() -> bool:
    """Whether a launcher such as ``torchrun`` started this process as a rank."""
    return launched_processes() is not None


def _decoded(failure: bytes) -> RankFailure:
    fields = json.loads(failure)
    if fields["components"] is not None:
        fields["components"] = tuple(fields["components"])
    return RankFailure(**fields)


def _store_gone(error: BaseException) -> RankFailure:
    return RankFailure(rank=0, reason=f"or its host is gone, and the store with it ({one_line(error)[:120]})")
