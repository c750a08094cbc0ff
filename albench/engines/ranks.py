"""The ranks engine: one process a lane, on one host or on many.

    torchrun --nproc-per-node 2 train.py        every process makes the same engine and the same calls; rank 0 reads
    python train.py                             make_engine("ranks", …, lanes=2) makes the other processes itself

Processes share no interpreter lock, so lanes overlap however small their operators are, and they can be on other
hosts. What a lane hands on goes forward only: through memory that both processes see, or over the network. A process
that fails or dies ends the job in all of them, with its rank and the reason (`albench.engines.job`).

After each run every process has all weights and losses; the optimizer's state stays where it is used until
``state_dict()`` asks for it.
"""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from albench.component import ComponentNetwork
from albench.engines.crew import Crew
from albench.engines.engine import Reader, TaskEngine, intra_op_threads
from albench.engines.errors import RankError
from albench.engines.job import Job, joined_job, was_launched
from albench.engines.options import EngineOptions
from albench.engines.rank import Outcome, Plan, Rank
from albench.engines.state import EngineState, Moments, check_state
from albench.errors import UsageError
from albench.machine import usable_cores
from albench.trace import Span

T = TypeVar("T")

EXIT_SECONDS = 2.0
"""How long a process that was told to end may take before it is killed."""


class RanksEngine(TaskEngine):
    """Runs `albench.schedule.pipelined` on K processes, of which this one is rank 0 unless a launcher says other.

    Under a launcher every rank makes every call; rank 0 reads the mini-batches and loads the state, and what the others
    are given in their place is left alone. ``fit`` raises `RankError` on every rank if one of them died.
    """

    name = "ranks"
    lane_kind = "process"

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        super().__init__(network, options)
        self._launched = was_launched()
        self._crew: Crew | None = None
        self._rank: Rank | None = None
        self._gathered: list[Moments] = []
        self._losses: list[dict[str, float]] = [{} for _ in self.components]
        self._spans: list[Span] = []
        self._begin()
        assert self._rank is not None
        self.notes.append(f"from rank to rank: {', '.join(self._rank.links) or 'nothing, there is one'}")

    def _choose_lanes(self) -> int:
        components = len(self.components)
        if not was_launched():
            return min(self.options.lanes or usable_cores(), components)
        size = int(os.environ["WORLD_SIZE"])
        if self.options.lanes not in (None, size):
            raise UsageError(
                f"lanes is {self.options.lanes}, but the launcher started {size} processes: leave lanes out"
            )
        if size > components:
            raise UsageError(
                f"the launcher started {size} processes for {components} components: start at most {components}, "
                "or build a deeper network"
            )
        return size

    def _begin(self) -> None:
        """Make or join the job."""
        seconds = self.options.rank_timeout_seconds
        with intra_op_threads(1):
            if self._launched:
                rank = Rank(joined_job(seconds), self.components, self.options, local=False)
                self._crew = None
            else:
                self._crew = Crew(self.network, self.options, size=self.lanes)
                try:
                    job = Job(self._crew.store, rank=0, size=self.lanes, timeout_seconds=seconds)
                    job.watch = self._crew.dead
                    rank = Rank(job, self.components, self.options, local=True)
                except BaseException:
                    self._crew.close(grace_seconds=0.0)
                    raise
        self._rank = rank
        self._tasks = rank.tasks
        # An engine that is dropped without close() leaves no process either.
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, _end, self._owner, rank, self._crew, 0.0)

    def _run(self, inputs: Reader) -> None:
        rank = self._present("fit")
        if not self._launched:
            rank.refuse_changes()  # before anybody is told to train: the engine stays whole
        outcome = self._call("fit", lambda: self._run_rank(rank, inputs))
        self._losses, self._spans, self.blocks = rank.losses, rank.spans, rank.blocks
        self._note_drawing(rank.drawing)
        if rank.job.rank > 0:
            self.minibatches_seen = outcome.minibatches_seen or self.minibatches_seen
            if outcome.reading_error:
                inputs.error = RankError(0, f"could not read on: {outcome.reading_error}")

    def _run_rank(self, rank: Rank, inputs: Reader) -> Outcome:
        with rank.together():
            rank.refuse_changes()
        if rank.job.rank > 0:
            return rank.run([], None, lambda: None)
        with rank.together():
            first = next(inputs, None)
            if first is None:
                return rank.run([], Plan([], push=False), lambda: inputs.error)
            self._balance(first)
        return rank.run(itertools.chain([first], inputs), Plan(self.blocks, push=False), lambda: inputs.error)

    def _state(self) -> EngineState:
        """Return the state of the run. Under a launcher every rank calls this and gets all of it."""
        if not self._interrupted:
            rank = self._present("state_dict")
            self._gathered = self._call("state_dict", rank.gather_moments)
        try:
            return super()._state()
        finally:
            self._gathered = []

    def _moments(self, component: int) -> Moments:
        return self._gathered[component]

    def _load(self, state: Any) -> None:
        """Take a state that an engine of any kind returned. Under a launcher all ranks take what rank 0 was given."""
        if self._launched:
            rank = self._present("load_state_dict")
            with rank.together():
                checked = check_state(state, list(self.components)) if rank.job.rank == 0 else None
        else:
            checked = check_state(state, list(self.components))
            if self._rank is None:
                self._begin()
            rank = self._present("load_state_dict")
            rank.refuse_changes()
        broken, self._interrupted = self._interrupted, True
        try:
            self.minibatches_seen = self._call("load_state_dict", lambda: rank.load(checked))
            self._traced_from = self.minibatches_seen
        except UsageError:
            self._interrupted = broken
            raise
        self._losses, self._spans = rank.losses, rank.spans
        self._interrupted = False

    def _present(self, call: str) -> Rank:
        """Return this process's rank, or say why it has none."""
        if self._rank is None:
            remedy = "start the job again" if self._launched else "load_state_dict() a state, or make a new engine"
            raise UsageError(f"{call}() after the engine's processes have ended: {remedy}")
        return self._rank

    def _call(self, order: str, call: Callable[[], T]) -> T:
        """Make a call together with the other ranks; an error of any kind ends the job, and its processes."""
        try:
            if self._crew is not None:
                self._crew.order(order)
            with intra_op_threads(1):
                return call()
        except BaseException:
            self._end(grace_seconds=0.0)
            raise

    @property
    def losses(self) -> list[dict[str, float]]:
        """Per component, of whatever rank: its local losses on the last mini-batch; empty before the first."""
        return self._losses

    @property
    def spans(self) -> list[Span]:
        """When each task ran, in the order they ended, if ``trace=True`` was asked for; else none.

        Every rank has the spans of all, after each run. Clocks agree within a host, not between hosts.
        """
        return sorted(self._spans, key=lambda span: span.end_seconds)

    def _close(self) -> None:
        """End the processes. Under a launcher: leave the job."""
        self._end(grace_seconds=EXIT_SECONDS)

    def _end(self, *, grace_seconds: float) -> None:
        rank, crew, self._rank, self._crew = self._rank, self._crew, None, None
        self._finalizer.detach()
        if rank is not None:
            _end(self._owner, rank, crew, grace_seconds)


def _end(owner: int, rank: Rank, crew: Crew | None, grace_seconds: float) -> None:
    if os.getpid() != owner:
        # A forked copy of the owner, such as a worker that loads data, ends nothing. It keeps what it inherited: the
        # destructors would wait for threads that were not copied.
        _inherited.append((rank, crew))
        return
    if crew is None:
        rank.close()
    elif grace_seconds:
        crew.order("close")
        rank.close()
        crew.close(grace_seconds=grace_seconds)
    else:
        crew.close(grace_seconds=0.0)  # first: a link to a dead process closes at once
        rank.close()


_inherited: list[tuple[Rank, Crew | None]] = []
