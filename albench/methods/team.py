"""Team: the processes that a method runs in where one is not enough, and the parent that tells them what to do.

    parent ──"train", mini-batches──► member 0 ◄──┐
           ──"train", mini-batches──► member 1 ◄──┤ torch.distributed
           ──"train", mini-batches──► member 2 ◄──┘

Every member is a process with an object of the same class, which makes the same calls as all others. The parent is none
of them: it waits for their answers and for their ends at once, so a member that dies is known in the same moment, and
ends the team with its rank and the reason. Members end with their parent. They are forks of the forkserver, so a team
stands in a fraction of a second; they meet through a store on a port that the system chose, so any number of teams can
be at work on one machine.

Under ``torchrun`` there are no children: every process that it started is a member itself and makes the same calls as
the others, on one host or on many.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import psutil
import torch
import torch.multiprocessing  # tensors go to members as memory that both see
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from albench.engines.batch import Batch
from albench.engines.errors import RankError
from albench.engines.exchange import address_towards_store
from albench.engines.job import was_launched
from albench.errors import UsageError, one_line
from albench.process import (
    child_environment,
    describe_exit,
    end_process,
    forkserver,
    leave_uncollected,
    nameless_main,
    watch_parent,
)

HOST = "127.0.0.1"
SILENCE = timedelta(minutes=10)
"""How long a member may wait for another one inside torch.distributed; a case's own limit is shorter as a rule."""
BLAME_SECONDS = 1.0
"""How long to look, after a member failed, for one that died: its end is the cause, the failure a consequence."""
EXIT_SECONDS = 2.0
"""How long a member that was told to end may take before it is killed."""

PRELOAD = ("albench.methods.team", "torch.distributed.pipelining", "torch._dynamo")
"""For a forkserver that this team is the first to need: what every member would import, which takes seconds."""

MakeMember = Callable[[Any, int, int], Any]
"""Makes a member's object from the options, its rank and the size of the team, where the process group stands."""


class Answer(NamedTuple):
    """What a member sends back."""

    result: Any = None
    error: str = ""
    """Empty where all went well."""
    usage: bool = False
    """Whether the caller is to blame."""


class Team:
    """Members that make every call together."""

    def __init__(self, make_member: MakeMember, options: Any, *, size: int, device: str = "cpu") -> None:
        """Start `size` members, or join those that ``torchrun`` started.

        `make_member` and `options` are sent to the members, so they must be picklable: a class at the top of a module.
        On "cuda" every member has a GPU of its own. Raises `UsageError` if there are too few, or if the launcher
        started another number of processes; `RankError` if a member dies or fails while it is made.
        """
        self.size = size
        self._members: list[tuple[BaseProcess, connection.Connection]] = []
        self._own: Any = None
        self._store: Any = None
        self._closed = False
        if device == "cuda" and not was_launched() and torch.cuda.device_count() < size:
            raise UsageError(
                f"lanes is {size} and this machine has {torch.cuda.device_count()} GPUs: every process needs one of "
                "its own; give fewer lanes, or an engine whose lanes share one GPU"
            )
        if was_launched():
            started = int(os.environ["WORLD_SIZE"])
            if started != size:
                raise UsageError(f"lanes is {size}, but the launcher started {started} processes: make them agree")
            self._own = _join_launched(make_member, options, device)
            return
        self._store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False, timeout=SILENCE)
        self._finalizer = weakref.finalize(self, _end, self._members, os.getpid(), 0.0)
        try:
            for rank in range(size):
                self._start(rank, make_member, options, device)
            self._answers()
        except BaseException:
            self.close()
            raise

    def _start(self, rank: int, make_member: MakeMember, options: Any, device: str) -> None:
        server = forkserver(*PRELOAD)
        ours, theirs = server.Pipe()
        process = server.Process(
            target=_serve,
            args=(theirs, make_member, options, rank, self.size, self._store.port, device),
            name=f"albench-member-{rank}",
            daemon=True,
        )
        with nameless_main(), child_environment():
            process.start()
        theirs.close()
        self._members.append((process, ours))

    @property
    def process_ids(self) -> list[int]:
        """The members' process ids, by rank; empty where a launcher started them."""
        return [process.pid or 0 for process, _ in self._members]

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of every member's object, and return what member 0's returned.

        Under a launcher: what this process's own returned. Raises `RankError` if a member dies or fails, which ends
        the team, and `UsageError` if a member refuses what it was given.
        """
        if self._closed:
            raise UsageError(f"{name}() after the team's processes have ended: make a new trainer")
        if self._own is not None:
            return getattr(self._own, name)(*arguments)
        try:
            for _, pipe in self._members:
                with contextlib.suppress(OSError):  # a member that is gone is told by `_answers`
                    pipe.send((name, arguments))
            return self._answers()[0].result
        except BaseException:
            self.close(grace_seconds=0.0)
            raise

    def _answers(self) -> list[Answer]:
        """Return every member's answer; raise for the one whose end or failure came first."""
        answers: dict[int, Answer] = {}
        deadline: float | None = None
        while len(answers) < self.size:
            waiting = {rank: member for rank, member in enumerate(self._members) if rank not in answers}
            patience = None if deadline is None else max(0.0, deadline - time.monotonic())
            objects: list[Any] = [pipe for _, pipe in waiting.values()]
            objects += [process.sentinel for process, _ in self._members]
            ready = set(connection.wait(objects, patience))
            for rank, (_, pipe) in waiting.items():
                if pipe in ready:
                    with contextlib.suppress(EOFError, OSError):
                        answers[rank] = pipe.recv()
            self._raise_for_the_dead()
            if deadline is None and any(answer.error for answer in answers.values()):
                deadline = time.monotonic() + BLAME_SECONDS
            if deadline is not None and time.monotonic() >= deadline:
                break
        for rank, answer in answers.items():  # in the order in which they came
            if answer.usage:
                raise UsageError(answer.error)
            if answer.error:
                raise RankError(rank, f"failed: {answer.error}")
        return [answers[rank] for rank in range(self.size)]

    def _raise_for_the_dead(self) -> None:
        for rank, (process, _) in enumerate(self._members):
            if process.exitcode is not None:
                raise RankError(rank, describe_exit(process.exitcode))

    def close(self, *, grace_seconds: float = EXIT_SECONDS) -> None:
        """End the members. Under a launcher: leave the process group."""
        if self._closed:
            return
        self._closed = True
        if self._own is not None:
            self._own = None
            distributed.destroy_process_group()
            return
        self._finalizer.detach()
        _end(self._members, os.getpid(), grace_seconds)
        self._store = None


def _end(members: list[tuple[BaseProcess, connection.Connection]], owner: int, grace_seconds: float) -> None:
    if os.getpid() != owner:
        return  # a forked copy of the parent has no members
    for _, pipe in members:
        pipe.close()  # which tells a member that is not at work to end
    for process, _ in members:
        end_process(process, grace_seconds)
        with contextlib.suppress(ValueError):  # killed and still there: the system will get to it
            process.close()
    members.clear()


def _join_launched(make_member: MakeMember, options: Any, device: str) -> Any:
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)  # as in members that are started here; torchrun says so only to several processes
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # Left to itself gloo takes the interface of the host's name, which may lead nowhere.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", _interface_towards_store())
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=SILENCE)
    return make_member(options, rank, size)


def _interface_towards_store() -> str:
    address = address_towards_store()
    found = (name for name, own in psutil.net_if_addrs().items() if any(one.address == address for one in own))
    return next(found, "lo")


def _serve(
    pipe: connection.Connection,
    make_member: MakeMember,
    options: Any,
    rank: int,
    size: int,
    port: int,
    device: str,
) -> None:
    """Run in a member's process: answer calls until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle, and it ends this process
    watch_parent()
    torch.set_num_threads(1)

    members: list[Any] = []  # one, once it is made

    def begin() -> None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        if device == "cuda":
            torch.cuda.set_device(rank)
        store = TCPStore(HOST, port, is_master=False, timeout=SILENCE)
        backend = "nccl" if device == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=SILENCE)
        members.append(make_member(options, rank, size))
        leave_uncollected()

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(_answer(begin))
        while True:
            name, arguments = pipe.recv()
            pipe.send(_answer(functools.partial(getattr(members[0], name), *arguments)))
    os._exit(0)  # a process group that others have left waits for them as it is taken down


def _answer(call: Callable[[], Any]) -> Answer:
    try:
        return Answer(call())
    except UsageError as error:
        return Answer(error=str(error), usage=True)
    except Exception as error:
        return Answer(error=one_line(error))


def own_part(batch: Batch, rank: int, size: int, *, minibatch: int) -> Batch:
    """Return a member's equal part of a mini-batch; `UsageError` if it cannot be cut into equal parts."""
    x, y = batch
    if len(y) % size:
        raise UsageError(
            f"mini-batch {minibatch} has {len(y)} instances, which {size} processes cannot share evenly: "
            f"give a batch size that {size} divides, and drop the last mini-batch of an epoch"
        )
    rows = slice(rank * (len(y) // size), (rank + 1) * (len(y) // size))
    return x[rows], y[rows]


def shared(batches: Sequence[Batch]) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Return mini-batches as one x, one y and their sizes, in memory that members see: two handles instead of 2·N."""
    x, y = (torch.cat([batch[part] for batch in batches]) for part in range(2))
    if x.device.type == "cpu":
        x, y = x.share_memory_(), y.share_memory_()  # type: ignore[no-untyped-call]
    return x, y, [len(batch[1]) for batch in batches]
