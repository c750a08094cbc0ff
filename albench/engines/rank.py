"""Rank: one process's part in training a network together with others, the same code in each of them.

    rank 0                      rank 1                      rank 2
    mini-batches ─► block 0 ──► block 1 ──────────────────► block 2          forward only, while a run lasts
                 weights, losses of each block to all of them                when the pipeline has drained

Rank 0 reads the mini-batches, decides which components lie on which rank, and its copy of the weights is the one that
counts when a run begins. Every rank makes the same calls in the same order; where they do not, all of them are told.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from albench.engines.copies import Modes, Unchanged, extra_states, modes_of, set_modes
from albench.engines.direct import DirectReader, DirectWriter, device_identity, distinct_devices, nccl_group
from albench.engines.engine import Input
from albench.engines.errors import PeerGoneError
from albench.engines.exchange import Exchange, component_tensors, gloo_group, share_components
from albench.engines.job import PATIENCE_SECONDS, Job, RankFailure
from albench.engines.message import Message, as_bytes, parts
from albench.engines.options import EngineOptions
from albench.engines.ring import AVAILABLE, RingListener, RingReader, RingWriter
from albench.engines.span_log import anchor_watches, kept_of_each
from albench.engines.state import EngineState, load_component
from albench.engines.task import component_tasks
from albench.engines.wire import WireReader, WireWriter
from albench.errors import UsageError, one_line
from albench.trace import Span


class Plan(NamedTuple):
    """What rank 0 decides before a run."""

    blocks: list[range]
    """The components of each rank; empty if there is nothing to train on."""
    push: bool
    """Whether the weights must be brought to all ranks first."""
    modes: Modes = Modes("", "")
    """How modules and parameters are used on rank 0, and so everywhere."""


class Outcome(NamedTuple):
    """How a run ended that came to its end."""

    minibatches_seen: int
    """By rank 0, over all runs; 0 if there was nothing to train on."""
    reading_error: str
    """What kept rank 0 from reading on; empty if nothing did. The pipeline has drained all the same."""


class Rank:
    """The links of one process to its neighbours, and its tasks."""

    def __init__(self, job: Job, components: Sequence[Any], options: EngineOptions, *, local: bool) -> None:
        """Meet the other ranks. `local`: all of them were made by one parent on this host. Raises `RankError`."""
        self.job = job
        self._components = list(components)
        self._options = options
        # The base rate of a mini-batch comes with it; only rank 0 knows where it comes from.
        self._rate = _ComingRate()
        plain = options if job.rank == 0 else options.replaced(learning_rate=self._rate)
        kept = kept_of_each(len(components))
        self.tasks = [component_tasks(i, c, plain, most_spans=kept) for i, c in enumerate(components)]
        self.blocks: list[range] = []
        self.losses: list[dict[str, float]] = [{} for _ in components]
        """Of every component, on every rank, after a run."""
        self.spans: list[Span] = []
        self.drawing: int | None = None
        """The first component, on whatever rank, that draws from torch's global generator, if one does."""
        self._unchanged = Unchanged(self._components)
        self._device = next(iter(components[0].parameters())).device
        self._writer: RingWriter | WireWriter | DirectWriter | None = None
        self._reader: RingReader | WireReader | DirectReader | None = None
        self._listener: RingListener | None = None
        self._wires: Any = None
        self._nccl: Any = None
        self._fingerprint: Any = None
        self._runs = 0
        try:
            job.start()
            with self.together():
                self._introduce(local)
        except BaseException:
            self.close()
            raise

    def _introduce(self, local: bool) -> None:
        """Tell the others who this is, and decide together how neighbours are linked."""
        job = self.job
        if AVAILABLE and job.rank > 0:
            self._listener = RingListener(f"albench-{uuid.uuid4()}")
        about = {
            "host": _host_identity(),
            "ring": self._listener.address if self._listener else "",
            "device": device_identity(self._device),
            "network": self._unchanged.description,
            "options": [
                self._options.weight_decay,
                self._options.epsilon,
                self._options.trace,
                self._options.link,
            ],
        }
        job.publish(f"about/{job.rank}", about)
        others = [job.read(f"about/{rank}") for rank in range(job.size)]
        for what in ("network", "options"):
            if others[0][what] != about[what]:
                raise UsageError(
                    f"the {what} of rank {job.rank} is not that of rank 0: make the same engine on every rank"
                )
        near = [others[r]["host"] == others[r + 1]["host"] and bool(others[r + 1]["ring"]) for r in range(job.size - 1)]
        apart = distinct_devices([other["device"] for other in others])
        if self._options.link == "ring" and not all(near):
            raise UsageError(
                f"ranks {near.index(False)} and {near.index(False) + 1} share no memory: give link='auto' or 'gloo'"
            )
        if self._options.link == "nccl" and not apart:
            raise UsageError("link is 'nccl' and not every rank has a GPU of its own: give link='auto'")
        self._direct = apart and self._options.link in ("auto", "nccl") and job.size > 1
        self._rings = [n and self._options.link != "gloo" and not self._direct for n in near]
        self._addresses = [other["ring"] for other in others]
        self.exchange = Exchange(job, local=local)
        if not all(self._rings):
            self._wires = gloo_group(job, "wires", local=local)
        if self._direct:
            self._nccl = nccl_group(job)

    @property
    def links(self) -> list[str]:
        """How each rank hands on to the next: "ring", "gloo" or "nccl"."""
        return ["nccl" if self._direct else "ring" if ring else "gloo" for ring in self._rings]

    def refuse_changes(self) -> None:
        """Raise `UsageError` if the network is not what it was: the other ranks' copies are, and would not fit."""
        self._unchanged.check()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """End the job for all if this rank fails, and say why if it is another one that did."""
        try:
            yield
        except PeerGoneError as error:
            if error.peer is None:  # then its heart, which stands still, tells who it was
                lost = RankFailure(rank=self.job.rank, reason=f"lost its links: {error}")
                patience_seconds = self.job.timeout_seconds + PATIENCE_SECONDS
            else:
                lost = RankFailure(rank=error.peer, reason=f"is gone, its link to rank {self.job.rank} broke: {error}")
                patience_seconds = PATIENCE_SECONDS
            raise self.job.reason(lost, patience_seconds=patience_seconds).error() from error
        except BaseException as error:
            self.job.fail(RankFailure.of(self.job.rank, error))
            raise

    def run(
        self, inputs: Iterable[Input], plan: Plan | None, reading_error: Callable[[], BaseException | None]
    ) -> Outcome:
        """Train on mini-batches until the pipeline has drained.

        Rank 0 gives `inputs`, its `plan` and what tells afterwards whether it could read them all; elsewhere all three
        are empty. Raises `ComponentError` or `RankError`, on every rank, if the job fails.
        """
        with self.together():
            self.job.enter("fit")
            if self._options.trace:
                anchor_watches()
            plan = self._agree(plan)
            if plan.push or not plan.blocks:
                self.exchange.meet()  # a rank that comes late is waited for, and its plan is not forgotten meanwhile
            if plan.push:
                share_components(self.exchange, self._components, 0)
            seen = 0
            if plan.blocks:
                self.blocks = plan.blocks
                seen = self._train(inputs)
                self._gather()
            error = reading_error()
            words = self.exchange.share([one_line(error) if error else ""], 0)
            return Outcome(seen, words[0])

    def _agree(self, plan: Plan | None) -> Plan:
        """Return the plan of rank 0."""
        self._runs += 1
        key = f"plan/{self._runs}"
        if plan is not None:
            push = self.job.size > 1 and self._fingerprint != self._look()
            plan = plan._replace(push=push, modes=modes_of(self._components))
            self.job.publish(key, [[[b.start, b.stop] for b in plan.blocks], plan.push, plan.modes])
            self.job.forget(f"plan/{self._runs - 1}")  # all ranks have been in a later exchange since
            return plan
        blocks, push, modes = self.job.read(key)
        plan = Plan([range(*block) for block in blocks], push, Modes(*modes))
        set_modes(self._components, plan.modes)
        return plan

    def _train(self, inputs: Iterable[Input]) -> int:
        job, block = self.job, self.blocks[self.job.rank]
        lane, last = job.rank, job.rank == job.size - 1
        seen = 0
        for minibatch, rate, features, target in self._messages(inputs):
            self._rate.base = rate
            for i in block:
                features, target = self.tasks[i].run(minibatch, features, target, lane=lane)
            seen = minibatch + 1
            if not last:
                with _linked_to(lane + 1):
                    onward = Message(minibatch, rate, features, target)
                    self._writer_for(onward).put(onward)
        if not last and self._writer is not None:
            with _linked_to(lane + 1):
                self._writer.finish(seen)
        return seen

    def _messages(self, inputs: Iterable[Input]) -> Iterator[Message]:
        if self.job.rank == 0:
            for minibatch, features, target in inputs:
                yield Message(minibatch, self._options.rate_at(minibatch), features, target)
            return
        if self._reader is None:
            if self._rings[self.job.rank - 1]:
                assert self._listener is not None
                self._reader = self._listener.accept(device=self._device, check=self.job.check)
            else:
                wire = WireReader(self._wires, self.job.rank - 1, self._device)
                self._reader = DirectReader(wire, self._nccl, self.job.rank - 1, self._device) if self._direct else wire
                self.job.on_failure.append(self._reader.abort)
                self.job.check()  # it may have failed before it could wake this reader
        messages = iter(self._reader)
        while True:
            with _linked_to(self.job.rank - 1):
                message = next(messages, None)
            if message is None:
                return
            yield message

    def _writer_for(self, message: Message) -> RingWriter | WireWriter | DirectWriter:
        """Return the link to the next rank; a ring's slots are as large as its first message."""
        if self._writer is None:
            onward = self.job.rank + 1
            if self._rings[onward - 1]:
                self._writer = RingWriter.connect(
                    self._addresses[onward], slot_bytes=sum(map(len, parts(message))), check=self.job.check
                )
            else:
                wire = WireWriter(self._wires, onward)
                self._writer = DirectWriter(wire, self._nccl, onward) if self._direct else wire
                self.job.on_failure.append(self._writer.abort)
                self.job.check()
        return self._writer

    def _gather(self) -> None:
        """Bring every block's weights, losses and spans to all ranks."""
        self.exchange.meet()
        self.spans, drawing = [], []
        for rank, block in enumerate(self.blocks):
            share_components(self.exchange, [self._components[i] for i in block], rank)
            tasks = [self.tasks[i] for i in block]
            spans_of = [[tuple(s) for s in each.log.spans()] if each.log else [] for each in tasks]
            mine = [(t.losses, spans, t.draws) for t, spans in zip(tasks, spans_of, strict=True)]
            for i, (losses, spans, draws) in zip(block, self.exchange.share(mine, rank), strict=True):
                self.losses[i] = losses
                self.spans += [Span(*span) for span in spans]
                drawing += [i] if draws else []
        self.drawing = drawing[0] if drawing else None
        self._fingerprint = self._look()

    def gather_moments(self) -> list[Any]:
        """Return the optimizer's state of every component, on every rank."""
        with self.together():
            self.job.enter("state_dict")
            self.exchange.meet()
            moments = [tasks.moments() for tasks in self.tasks]
            for rank, block in enumerate(self.blocks):
                moments[block.start : block.stop] = self.exchange.share(moments[block.start : block.stop], rank)
            return moments

    def load(self, state: EngineState | None) -> int:
        """Take weights, generators and the optimizer's state of every component as rank 0 was given them.

        Returns the mini-batches seen.
        """
        with self.together():
            self.job.enter("load_state_dict")
            self.refuse_changes()
            self.exchange.meet()
            shared = self.exchange.share(state, 0)
            for i, saved in enumerate(shared["components"]):
                load_component(self._components[i], saved)
                self.tasks[i].load_moments(saved["optimizer"])
            self.losses = [{} for _ in self._components]
            self.forget_spans()
            self._fingerprint = self._look()
            return int(shared["minibatches"])

    def forget_spans(self) -> None:
        """Forget the spans of this rank's tasks."""
        self.spans = []
        for tasks in self.tasks:
            if tasks.log is not None:
                tasks.log.clear()

    def _look(self) -> Any:
        """Return what changes when somebody writes to the weights: by the rules, past them, or with new tensors.

        With what modules keep besides, and where that cannot be looked at, what never is the same.
        """
        if self.job.rank > 0:
            return None
        tensors, generators = component_tensors(self._components)
        states = [bytes(generator.get_state().numpy()) for generator in generators]
        sums = [zlib.crc32(as_bytes(t).numpy().data) for t in tensors]
        try:
            extra: Any = pickle.dumps(extra_states(self._components))
        except Exception:
            extra = object()
        return [(t.data_ptr(), t._version) for t in tensors], sums, states, extra

    def close(self) -> None:
        """Leave the job and close every link."""
        for link in (self._writer, self._reader, self._listener):
            if link is not None:
                with contextlib.suppress(OSError):
                    link.close()
        self._writer = self._reader = self._listener = None
        self._wires = self._nccl = None
        if hasattr(self, "exchange"):
            del self.exchange
        self.job.close()


@contextlib.contextmanager
def _linked_to(rank: int) -> Iterator[None]:
    """Name the rank on the other side of a link that breaks."""
    try:
        yield
    except PeerGoneError as error:
        error.peer = rank
        raise


class _ComingRate:
    """A learning rate that was told with the mini-batch."""

    def __init__(self) -> None:
        self.base = 1.0

    def __call__(self, _minibatch: int) -> float:
        return self.base


def _host_identity() -> str:
    """Return what two processes have in common if and only if one can map the other's memory through a socket.

    The same boot of the same machine, the same network namespace (the sockets live there) and the same user.
    """
    if not AVAILABLE:
        return f"{socket.gethostname()} {os.getpid()}"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {Path('/proc/self/ns/net').stat().st_ino} {os.getuid()}"
