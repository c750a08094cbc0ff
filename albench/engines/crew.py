"""Crew: the processes that one parent makes, one for each lane but its own.

    parent, rank 0 ──"fit", "state_dict", "load_state_dict", "close"──► child, rank 1
                   ──"fit", "state_dict", "load_state_dict", "close"──► child, rank 2

A child holds a copy of the network and does what the parent orders over its pipe; everything else goes between ranks
(`albench.engines.rank`). The parent looks after its children: one that died is known by its exit code within a quarter
of a second. A child looks after its parent, and ends itself when that is gone. Ctrl-C is the parent's to handle.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import Store

from albench.component import ComponentNetwork
from albench.engines.caller import LOOK_SECONDS
from albench.engines.errors import ComponentError, RankError
from albench.engines.job import Job, RankFailure
from albench.engines.options import EngineOptions
from albench.engines.precision import exact_arithmetic
from albench.engines.rank import Rank
from albench.errors import UsageError, message_of
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
STORE_SECONDS = 300.0
"""How long a child tries to reach its parent's store."""
CHILD = "albench-rank-"
IN_SCRIPT = b"__main__"
"""Where a pickled network says this, a class of it is defined in the script that was started."""
UNGUARDED = 4
"""Exit status of a child that read the script for those classes, and came upon the making of an engine."""
MAKES_ENGINE_AGAIN = (
    "the network's classes are defined in a script that makes an engine wherever it is imported: put all but "
    "definitions under `if __name__ == '__main__':`, define the classes in a module, or use engine 'threads'"
)
PRELOAD = ("albench.engines.ranks", "torch._dynamo")  # the first optimizer imports the latter, for three seconds


@dataclass(frozen=True, kw_only=True)
class Papers:
    """What a child needs to know."""

    port: int
    rank: int
    size: int
    network: bytes
    """As `torch.save` wrote it; it comes from the parent, over the parent's own pipe."""
    device: str
    default_dtype: torch.dtype
    matmul_precision: str
    """Of float32. Both are the whole process's, and part of what "the same arithmetic" means."""
    options: EngineOptions
    """Without a rate that is a function: the rate of a mini-batch comes with it."""


class Crew:
    """The children of one engine, as the parent sees them."""

    def __init__(self, network: ComponentNetwork, options: EngineOptions, *, size: int) -> None:
        """Start ranks 1 … size-1.

        Raises `UsageError` if this process may have no children, or if the network cannot be sent to them.
        """
        if multiprocessing.current_process().daemon and size > 1:
            raise UsageError(
                "a daemonic process may have no children: make the engine elsewhere, or use engine 'threads'"
            )
        if size > 1 and _is_reading_the_script():
            os._exit(UNGUARDED)  # without the pages of advice that multiprocessing has for this
        data = _packed(network) if size > 1 else b""
        if IN_SCRIPT in data:
            _check_script()
        self._store = TCPStore(
            HOST, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=STORE_SECONDS)
        )
        self.size = size
        self._children: list[tuple[BaseProcess, connection.Connection]] = []
        try:
            for rank in range(1, size):
                self._start(rank, data, network, options)
        except BaseException:
            self.close(grace_seconds=0.0)
            raise

    def _start(self, rank: int, data: bytes, network: ComponentNetwork, options: EngineOptions) -> None:
        server = forkserver(*PRELOAD)
        reader, writer = server.Pipe(duplex=False)
        papers = Papers(
            port=self._store.port,
            rank=rank,
            size=self.size,
            network=data,
            device=_device_of(network, rank),
            default_dtype=torch.get_default_dtype(),
            matmul_precision=torch.get_float32_matmul_precision(),
            options=options.replaced(learning_rate=1.0) if callable(options.learning_rate) else options,
        )
        process = server.Process(target=_serve, args=(reader, papers), name=f"{CHILD}{rank}", daemon=True)
        # A network of classes from the caller's own script can only be read where that script is imported.
        with contextlib.nullcontext() if IN_SCRIPT in data else nameless_main(), child_environment():
            process.start()
        reader.close()
        self._children.append((process, writer))

    @property
    def store(self) -> Store:
        """The store through which the ranks find each other; rank 0 holds it."""
        return self._store

    def order(self, order: str) -> None:
        """Tell every child what all ranks do next."""
        for _, writer in self._children:
            with contextlib.suppress(OSError):  # a child that is gone is reported with its reason by `dead`
                writer.send_bytes(order.encode())

    def dead(self) -> RankFailure | None:
        """Return who has died and how, if anybody."""
        for rank, (process, _) in enumerate(self._children, start=1):
            try:
                code = process.exitcode
            except ValueError:  # closed by another thread in this moment: nobody asks any more
                return None
            if code == UNGUARDED:
                return RankFailure(rank=rank, reason=MAKES_ENGINE_AGAIN, usage=True)
            if code is not None:
                return RankFailure(rank=rank, reason=describe_exit(code))
        return None

    def close(self, *, grace_seconds: float) -> None:
        """End every child: by itself within `grace_seconds`, or killed."""
        children, self._children = self._children, []
        for process, writer in children:
            writer.close()
            end_process(process, grace_seconds)
            with contextlib.suppress(ValueError):  # killed and still there: the system will get to it
                process.close()


def _packed(network: ComponentNetwork) -> bytes:
    buffer = io.BytesIO()
    try:
        torch.save(network, buffer)
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"the network cannot be sent to another process ({message_of(error, 200)}): define its classes "
            "and hooks at the top of a module, or use engine 'threads'"
        ) from error
    return buffer.getvalue()


def _is_reading_the_script() -> bool:
    """Whether this is a child that was started, and now imports the caller's script, and nothing of it has begun."""
    process = multiprocessing.current_process()
    return process.name.startswith(CHILD) and bool(getattr(process, "_inheriting", False))


def _check_script() -> None:
    """Raise `UsageError` if children cannot import the script that was started, or would run it again."""
    script = sys.modules["__main__"]
    path = Path(getattr(script, "__file__", None) or "")
    if path.is_file():
        if b"__main__" not in path.read_bytes() and not sys.flags.interactive:
            raise UsageError(MAKES_ENGINE_AGAIN)
    elif getattr(script, "__spec__", None) is None:
        raise UsageError(
            "the network's classes are defined on standard input, after -c or in a notebook, where other processes "
            "cannot import them: define them in a module, or use engine 'threads'"
        )


def _device_of(network: Any, rank: int) -> str:
    """Return the device of a rank: the CPU, or one GPU after the other."""
    device = next(iter(network.components[0].parameters())).device
    if device.type != "cuda":
        return str(device)
    return f"cuda:{(device.index + rank) % torch.cuda.device_count()}"


def _serve(orders: connection.Connection, papers: Papers) -> None:
    """Run in a child: be a rank until the parent says "close"."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_parent()
    torch.set_num_threads(1)
    if papers.device.startswith("cuda"):
        torch.cuda.set_device(papers.device)
    torch.set_default_dtype(papers.default_dtype)
    torch.set_float32_matmul_precision(papers.matmul_precision)
    store = TCPStore(HOST, papers.port, is_master=False, timeout=timedelta(seconds=STORE_SECONDS))
    job = Job(store, rank=papers.rank, size=papers.size, timeout_seconds=papers.options.rank_timeout_seconds)
    # The job ends for all ranks with the reason, which the parent raises: nothing more to say here.
    with contextlib.suppress(ComponentError, RankError, UsageError):
        try:
            network = _unpacked(papers)
            rank = Rank(job, network.components, papers.options, local=True)
        except (ComponentError, RankError):
            raise
        except BaseException as error:
            job.fail(RankFailure.of(papers.rank, error))  # nothing new where all have been told: the first one counts
            return
        leave_uncollected()
        try:
            with exact_arithmetic(torch.device(papers.device)):
                _obey(orders, rank)
        finally:
            rank.close()


def _unpacked(papers: Papers) -> Any:
    """Return the network that `_packed` packed. Raises `UsageError` if the imported script lacks a class of it."""
    try:
        device = torch.device(papers.device)

        def place(storage: Any, location: str) -> Any:
            # What was on a GPU, and nothing else: the state of a generator is on the host wherever the network is.
            return storage.to(device=device) if location.startswith("cuda") else None

        return torch.load(io.BytesIO(papers.network), weights_only=False, map_location=place)
    except AttributeError as error:
        raise UsageError(
            f"the network cannot be read in another process ({message_of(error, 200)}): define its classes "
            "at the top of the script or of a module, outside any `if` or function, or use engine 'threads'"
        ) from error


def _obey(orders: connection.Connection, rank: Rank) -> None:
    calls: dict[str, Callable[[], object]] = {
        "fit": lambda: rank.run([], None, lambda: None),
        "state_dict": rank.gather_moments,
        "load_state_dict": lambda: rank.load(None),
    }
    with torch.enable_grad(), contextlib.suppress(EOFError):
        while True:
            # A process that the parent forked may hold the pipe open after the parent is gone: the job tells then.
            while not orders.poll(LOOK_SECONDS):
                rank.job.check()
            if (order := orders.recv_bytes().decode()) == "close":
                return
            calls[order]()
