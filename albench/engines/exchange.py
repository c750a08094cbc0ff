"""Exchange: what the ranks of a job give each other between two runs, when the pipeline has drained.

Every rank has the whole network, and trains its own block of it. After a run each rank broadcasts its block, so that
the network is the same everywhere and can be evaluated, saved and trained on by any of them. All calls here are made by
every rank, in the same order, after they have met: whoever is missing is noticed before the first byte is sent.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import pickle
import socket
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed import BroadcastOptions
from torch.distributed.distributed_c10d import PrefixStore, ProcessGroupGloo

from albench.engines.copies import extra_states, set_extra_states
from albench.engines.errors import PeerGoneError
from albench.engines.job import Job
from albench.engines.message import as_bytes
from albench.engines.wire import GlooGroup
from albench.errors import UsageError, message_of

PIECE_BYTES = 64 * 2**20
"""Long transfers go in pieces, so that the time limit is one for silence and not for size."""


def gloo_group(job: Job, name: str, *, local: bool) -> GlooGroup:
    """Return a gloo group of all ranks that is nobody's default. `local`: all of them are on this host.

    The network interface is the one that leads to the host of the store; GLOO_SOCKET_IFNAME overrides it. Raises
    `PeerGoneError` if a rank does not come to it.
    """
    interface = os.environ.get("GLOO_SOCKET_IFNAME")
    if interface:
        device = ProcessGroupGloo.create_device(interface=interface.split(",")[0])
    else:
        device = ProcessGroupGloo.create_device(hostname="127.0.0.1" if local else address_towards_store())
    gloo: Any = ProcessGroupGloo
    options = gloo._Options()
    options._devices = [device]
    options._timeout = timedelta(seconds=job.timeout_seconds)
    # A connection to the store of its own: gloo waits on it, and the job's must stay free to say who failed.
    store = PrefixStore(name, job.store.clone())
    try:
        return gloo(store, job.rank, job.size, options)
    except RuntimeError as error:
        raise PeerGoneError(str(error)) from error


def address_towards_store() -> str:
    """Return the address by which this host talks to the one that holds the store; nothing is sent."""
    master = os.environ.get("MASTER_ADDR", "127.0.0.1")
    family, kind, protocol, _, address = socket.getaddrinfo(master, 1, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


class Exchange:
    """Broadcasts between the ranks of a job."""

    def __init__(self, job: Job, *, local: bool) -> None:
        self._job = job
        self._met = 0
        self.meet()
        self._group = gloo_group(job, "exchange", local=local)

    def meet(self) -> None:
        """Wait until every rank is here."""
        self._met += 1
        self._job.meet(f"met/{self._met}")
        if self._met > 1 and self._job.rank == 0:
            self._job.forget(f"met/{self._met - 1}", f"met/{self._met - 1}/arrived")

    def share_tensors(self, tensors: Sequence[Tensor], root: int) -> None:
        """Give every rank the values that the tensors have on rank `root`.

        Raises `UsageError` where they have another size than there: gloo would end the process.
        """
        if not tensors:
            return
        flat = torch.cat([as_bytes(tensor) for tensor in tensors])
        size = self._share_size(flat, root)
        if size != len(flat):
            raise UsageError(
                f"the components have tensors of {size} bytes on rank {root} and of {len(flat)} on rank "
                f"{self._job.rank}: keep the size of buffers, or use engine 'threads'"
            )
        self._broadcast(flat, root)
        if self._job.rank == root:
            return
        position = 0
        with torch.no_grad():
            for tensor in tensors:
                count = tensor.numel() * tensor.element_size()
                piece = flat[position : position + count].clone()  # its own memory, aligned for any type
                tensor.copy_(piece.view(tensor.dtype).view(tensor.shape))
                position += count

    def share(self, value: Any, root: int) -> Any:
        """Return what rank `root` gives: tensors, numbers, strings and containers of them.

        Raises `UsageError` for anything else, which can only be what a module's ``get_extra_state`` returned.
        """
        buffer = io.BytesIO()
        if self._job.rank == root:
            with _only_plain_data():
                torch.save(value, buffer)
        data = torch.frombuffer(bytearray(buffer.getvalue() or b"\0"), dtype=torch.uint8)
        size = self._share_size(data, root)
        if self._job.rank != root:
            data = torch.empty(size, dtype=torch.uint8)
        self._broadcast(data, root)
        if self._job.rank == root:
            return value
        with _only_plain_data():
            return torch.load(io.BytesIO(data.numpy().tobytes()), weights_only=True, map_location="cpu")

    def _share_size(self, data: Tensor, root: int) -> int:
        """Return how many bytes there are on rank `root`."""
        size = torch.tensor([len(data)])
        self._broadcast(as_bytes(size), root)
        return int(size.item())

    def _broadcast(self, data: Tensor, root: int) -> None:
        options = BroadcastOptions()
        options.rootRank = root
        for start in range(0, len(data), PIECE_BYTES):
            try:
                self._group.broadcast([data[start : start + PIECE_BYTES]], options).wait()
            except RuntimeError as error:
                raise PeerGoneError(str(error)) from error


@contextlib.contextmanager
def _only_plain_data() -> Iterator[None]:
    """Say in one line that something cannot go to another process."""
    try:
        yield
    except (pickle.PickleError, AttributeError, TypeError) as error:
        said = message_of(error)  # among pages of advice
        why = said.rpartition("WeightsUnpickler error: ")[2].partition(". ")[0][:120]
        raise UsageError(
            f"get_extra_state() of a module returned what other ranks cannot take ({why}): "
            "let it return tensors, numbers, strings and containers of them, or use engine 'threads'"
        ) from error


def component_tensors(components: Sequence[Any]) -> tuple[list[Tensor], list[torch.Generator]]:
    """Return the weights and buffers of components, those that are not saved too, and their generators."""
    modules = [cast("nn.Module", c) for c in components]
    tensors = [t.detach() for m in modules for t in itertools.chain(m.parameters(), m.buffers())]
    generators = [g for c in components if isinstance(g := getattr(c, "generator", None), torch.Generator)]
    return tensors, generators


def share_components(exchange: Exchange, components: Sequence[Any], root: int) -> None:
    """Give every rank the weights, buffers, generators and extra state that the components have on rank `root`."""
    tensors, generators = component_tensors(components)
    if extra := extra_states(components):
        set_extra_states(components, exchange.share(extra, root))
    states = [generator.get_state() for generator in generators]
    exchange.share_tensors([*tensors, *states], root)
    for generator, state in zip(generators, states, strict=True):
        generator.set_state(state)
