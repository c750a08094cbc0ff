"""The fused engine: one tick is a handful of launches, however many components run in it.

Components of equal shape are stacked (`albench.engines.stack`) and a tick runs all of them at once, each on the
mini-batch that Table 1 gives it. A component that no neighbour resembles, as the first one of most networks, runs
beside the stack on its own. From one tick to the next everything moves on by one slot:

    tick 3      slot 0: mini-batch 3   slot 1: mini-batch 2   slot 2: mini-batch 1   slot 3: mini-batch 0
    tick 4      slot 0: mini-batch 4   slot 1: mini-batch 3   slot 2: mini-batch 2   slot 3: mini-batch 1

There are two ways to run a tick. *Launch by launch*, neighbouring slots whose mini-batches have the same shapes run
together, whichever slots these are. That needs no preparation, and is what happens first. *Prepared*
(`albench.engines.tick`), all slots run from buffers that never move, and what they do was captured or compiled once.
A mini-batch of another shape than the prepared one, as the ragged last one of an epoch, travels beside it launch by
launch while the prepared tick leaves its slot alone: nothing waits, and N mini-batches take N + K - 1 ticks.

When a tick is prepared:

* on a GPU, on the second mini-batch of one shape: capturing takes a moment and every launch saved is time saved;
* elsewhere with ``compile=True``, on the second one too; with "auto", after as many mini-batches as it takes for the
  compiler's time to come back (`AUTO_COMPILE_MINIBATCHES`), so that short runs never pay for it; with False never.

It takes over when no mini-batch is under way in an older one. With ``compile=True`` a GPU's tick is compiled, then
captured. Where the compiler fails, as where there is none, ``engine.notes`` says so and training goes on without.

Stacking sums a few numbers in another order than one component alone would, so the result is equal to `serial` up to
rounding, not bitwise. After 200 mini-batches every tensor is within ‖Δ‖/‖w‖ of 1e-10 in float64, and of 1e-5 in float32
unless a gradient happens to vanish: Adam divides a gradient by its own size, so where one entry of it is near ε = 1e-8,
which is what rounding leaves of it, the step takes over that entry's rounding whole. It shows in biases, which begin at
zero and so are small. Of 100 random networks (2 to 12 hidden layers, widths 9 to 33, batches of 2 to 16), each at rates
1e-3, 3e-3 and 1e-2, 99 stayed within 1e-5; the other had one such entry in its first mini-batch, and ended 1e-5 to 3e-5
apart, and 2e-15 in float64.

It pays where launches cost more than arithmetic: small layers on a CPU, most layers on a GPU. On one CPU thread, at
batch size 16 and 64 hidden layers, a mini-batch against the better of eager and compiled back-propagation takes:

    width                    32        64        128       256
    launch by launch         1/2.0     1/1.4     2.1×      2.3×
    compiled                 1/4.1     1/2.7     1/1.3     1.2×
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch

from albench.component import ComponentNetwork, Target, map_target
from albench.engines.batch import Batch
from albench.engines.engine import Engine, Input
from albench.engines.errors import ComponentError
from albench.engines.options import EngineOptions
from albench.engines.span_log import SPANS_KEPT, SpanLog, in_order, watch_of
from albench.engines.stack import Stack
from albench.engines.stackability import difference, refusal, shape_signature
from albench.engines.state import Moments
from albench.engines.task import ComponentTasks
from albench.engines.tick import Layout, Tick, layout_of
from albench.errors import UsageError
from albench.machine import usable_cores
from albench.trace import Span

AUTO_COMPILE_MINIBATCHES = 20_000
"""Mini-batches of one shape before ``compile="auto"`` compiles. At width 32 a compiled tick saves 0.1 ms (2 hidden
layers) to 0.6 ms (64), and compiling takes about 10 s, or half a minute on a busy machine: whoever waits this long
before it loses little either way. A number of mini-batches, not of seconds: the same run must take the same way every
time."""

PREPARED_TICKS_KEPT = 4
"""Prepared ticks of different shapes that an engine keeps: each holds buffers for all of its slots."""


class Piece(NamedTuple):
    """Mini-batches under way in neighbouring slots of one block, to be run launch by launch."""

    first: int
    """Component that runs the first entry in the tick to come."""
    minibatch: int
    """Of the first entry; every next one is the mini-batch before."""
    features: torch.Tensor
    """``[k, B, …]``"""
    target: Target
    """Every tensor of it has k entries."""

    @property
    def stop(self) -> int:
        """Component after the last."""
        return self.first + len(self.features)

    def part(self, low: int, high: int, *, first: int) -> Piece:
        """Return entries low … high-1, the first of which is at component `first`."""
        target = map_target(lambda t: t[low:high], self.target)
        return Piece(first, self.minibatch - low, self.features[low:high], target)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Neighbouring components that run as one: a stack, or a component alone."""

    components: range
    stack: Stack | None
    """None: a single component, run by `tasks`."""
    tasks: ComponentTasks | None


class FusedEngine(Engine):
    """Runs `albench.schedule.pipelined` tick by tick, stacked.

    Its lanes are threads that share each operator; on a GPU it has one, the whole device.
    """

    name = "fused"
    lane_kind = "intra-op-thread"
    out_of_order = True
    counts_updates = False
    prepare_uncompiled: ClassVar[bool] = False
    """Whether to prepare ticks on a CPU as on a GPU. There is nothing to gain; tests see a GPU's logic with it."""

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        super().__init__(network, options)
        self._blocks: list[Block] = []
        first = 0
        for _, group in itertools.groupby(self.components, key=shape_signature):
            members = list(group)
            components = range(first, first + len(members))
            reason = refusal(members[0])
            if not reason:
                # A component alone is a stack of one: the same arithmetic with a fraction of the Python around it.
                self._blocks.append(
                    Block(components=components, stack=Stack(members, options, first=first), tasks=None)
                )
            elif len(members) == 1:
                tasks = ComponentTasks(first, members[0], options)
                self._blocks.append(Block(components=components, stack=None, tasks=tasks))
            else:
                raise UsageError(f"component {first} cannot be stacked: {reason}; use engine 'serial' or 'threads'")
            first = components.stop
        if len(self.components) > 2 and len(self._blocks) == len(self.components):
            raise UsageError(
                "no two neighbouring components have the same layers and shapes, so there is nothing to stack "
                f"({self._why_apart()}); use engine 'serial' or 'threads'"
            )
        self._block_of = [block for block in self._blocks for _ in block.components]
        self._stacks = [block.stack for block in self._blocks if block.stack is not None]
        self._log = SpanLog(watch_of(self.device), SPANS_KEPT) if options.trace else None
        self._tick: Tick | None = None
        """The prepared tick in use."""
        self._prepared: dict[Layout, Tick] = {}
        self._layout_counts: dict[Layout, int] = {}
        self.recordings = 0
        """Bodies of ticks that were captured or compiled."""
        if self._on_cuda:
            self.lane_kind = "cuda-stream"
        self._pool = torch.cuda.graph_pool_handle() if self._on_cuda else None
        # One stream for all recordings, but for stacks beside the first (`Tick`): those of one stream share what is in
        # the pool, and cuBLAS keeps a workspace for every stream that it has seen.
        self._stream = torch.cuda.Stream(self.device) if self._on_cuda else None  # type: ignore[no-untyped-call]
        self._prepare_after = self._choose_prepare_after()

    def __getstate__(self) -> dict[str, Any]:
        """Let an engine be copied or pickled; its prepared ticks stay behind, and are prepared again in their turn."""
        return {**vars(self), "_tick": None, "_prepared": {}, "_layout_counts": {}}

    def _why_apart(self) -> str:
        """Return what keeps components from being stacked: the first refusal, or how the last two differ."""
        for i, component in enumerate(self.components):
            if reason := refusal(component):
                return f"component {i} cannot be stacked: {reason}"
        one, other = map(shape_signature, self.components[-2:])
        last = len(self.components) - 1
        return f"components {last - 1} and {last} differ in {difference(one, other)}"

    def _choose_prepare_after(self) -> int | None:
        """Return on which mini-batch of one shape a tick is prepared; None for never."""
        compiling = self.options.compile
        if len(self._stacks) < len(self._blocks):
            if compiling is True:
                lone = next(block.components.start for block in self._blocks if block.stack is None)
                reason = refusal(self.components[lone])
                self.notes.append(f"not compiled: component {lone} runs on its own, because {reason}")
            return None
        if self._on_cuda or compiling is True or self.prepare_uncompiled:
            return 2
        return AUTO_COMPILE_MINIBATCHES if compiling == "auto" else None

    @property
    def _on_cuda(self) -> bool:
        return bool(next(iter(self.components[0].parameters())).is_cuda)

    def _choose_lanes(self) -> int:
        return 1 if self._on_cuda else self.options.lanes or usable_cores()

    @property
    def intra_op_threads(self) -> int:
        """Threads that share the components of a batched operator: this engine's lanes."""
        return self.lanes

    def fit(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches, as `Engine.fit` says; also refuses to where components are not what was stacked."""
        for stack in self._stacks:
            stack.check_unchanged()
        super().fit(batches)

    def _run(self, inputs: Iterator[Input]) -> None:
        for stack in self._stacks:
            stack.gather()
        for tick in self._prepared.values():
            tick.reset()
        if self._tick is not None:
            self._tick.refresh()
        try:
            self._run_pipeline(inputs)
        finally:
            for stack in self._stacks:
                stack.scatter()

    def _run_pipeline(self, inputs: Iterator[Input]) -> None:
        """Fill, run and drain the pipeline: a mini-batch enters every tick, whatever its shape."""
        pieces: list[Piece] = []  # under way launch by launch, the nearest to the input first
        newest = -1  # the mini-batch of component 0, or where it would be: component i is at newest - i
        draining = False
        while True:
            item = None if draining else next(inputs, None)
            if item is None:
                draining = True
                newest += 1
            else:
                newest = item.minibatch
                if self._choose_tick(item):
                    assert self._tick is not None
                    self._tick.enter(item, self.options.rate_at(item.minibatch))
                else:
                    target = map_target(lambda t: t.unsqueeze(0), item.target)
                    pieces.insert(0, Piece(0, item.minibatch, item.features.unsqueeze(0), target))
            tick = self._tick
            if tick is not None and tick.active_slots:
                self._run_prepared(tick, newest)
            elif not pieces:
                return
            if pieces:
                # The furthest first, as the serial order has it; what they hand on is again the nearest first.
                handed_on = [self._run_piece(piece) for piece in reversed(self._merged(pieces))]
                pieces = [piece for parts in reversed(handed_on) for piece in parts]
                if tick is not None:
                    tick.refresh()

    def _choose_tick(self, item: Input) -> bool:
        """Return whether the prepared tick takes this mini-batch, having prepared or changed it if it is time to."""
        if self._prepare_after is None:
            return False
        layout = layout_of(item.features, item.target)
        if self._tick is not None and self._tick.layout == layout:
            return True
        count = self._layout_counts[layout] = self._layout_counts.get(layout, 0) + 1
        if count < self._prepare_after or (self._tick is not None and self._tick.active_slots):
            return False
        if layout not in self._prepared:
            if len(self._prepared) == PREPARED_TICKS_KEPT:
                self._prepared.pop(next(iter(self._prepared)))
            capturing = self._on_cuda or self.prepare_uncompiled
            # "auto" compiles where there is nothing to capture.
            compiled = self.options.compile is True or (self.options.compile == "auto" and not capturing)
            tick = Tick(self._stacks, item, compiled=compiled, pool=self._pool, stream=self._stream)
            self.notes += [note for note in tick.notes if note not in self.notes]
            if not (capturing or tick.compiled):
                self._prepare_after = None  # neither captured nor compiled, it would be the slower way
                return False
            self._prepared[layout] = tick
            self.recordings += tick.recordings
        self._tick = self._prepared[layout]
        self._tick.refresh()
        return True

    def _run_prepared(self, tick: Tick, newest: int) -> None:
        active = tick.active_slots
        start = self._log.mark() if self._log is not None else None
        try:
            tick.run()
        except UsageError:
            raise
        except Exception as error:
            raise ComponentError(range(tick.count), newest, error) from error
        if self._log is not None:
            tasks = ((i, newest - i) for i in range(tick.count) if active >> i & 1)
            self._log.add(start, self._log.mark(), 0, tasks)

    def _merged(self, pieces: list[Piece]) -> list[Piece]:
        """Return the pieces with neighbours made one where the same block can run them in one go."""
        groups: list[list[Piece]] = []
        for piece in pieces:
            last = groups[-1][-1] if groups else None
            if (
                last is not None
                and last.stop == piece.first
                and self._block_of[last.first] is self._block_of[piece.first]
                and layout_of(last.features, last.target, skip=1) == layout_of(piece.features, piece.target, skip=1)
            ):
                groups[-1].append(piece)
            else:
                groups.append([piece])
        return [
            group[0]
            if len(group) == 1
            else Piece(
                group[0].first,
                group[0].minibatch,
                torch.cat([piece.features for piece in group]),
                map_target(lambda *tensors: torch.cat(tensors), *(piece.target for piece in group)),
            )
            for group in groups
        ]

    def _run_piece(self, piece: Piece) -> list[Piece]:
        """Run the tasks of a piece and return what they hand on: in this block, and from its end to the next."""
        block = self._block_of[piece.first]
        start = self._log.mark() if self._log is not None else None
        if block.tasks is not None:
            target = map_target(lambda t: t[0], piece.target)
            features, target = block.tasks.run(piece.minibatch, piece.features[0], target)
            features, target = features.unsqueeze(0), map_target(lambda t: t.unsqueeze(0), target)
        else:
            assert block.stack is not None
            low, high = piece.first - block.components.start, piece.stop - block.components.start
            try:
                features, target = block.stack.run(piece.minibatch, low, high, piece.features, piece.target)
            except UsageError:
                raise
            except Exception as error:
                raise ComponentError(range(piece.first, piece.stop), piece.minibatch, error) from error
        if self._log is not None:
            tasks = ((i, piece.minibatch - (i - piece.first)) for i in range(piece.first, piece.stop))
            self._log.add(start, self._log.mark(), 0, tasks)
        ahead = Piece(piece.first + 1, piece.minibatch, features, target)
        if ahead.stop <= block.components.stop:
            return [ahead]
        # The last entry leaves the block: to the next one, or out of the network.
        last = len(features) - 1
        parts = [ahead.part(0, last, first=ahead.first)] if last else []
        if block.components.stop < len(self.components):
            parts.append(ahead.part(last, last + 1, first=block.components.stop))
        return parts

    def _moments(self, component: int) -> Moments:
        block = self._block_of[component]
        if block.tasks is not None:
            return block.tasks.moments()
        assert block.stack is not None
        return block.stack.moments(component - block.components.start)

    def _load_moments(self, component: int, moments: Moments) -> None:
        block = self._block_of[component]
        if block.tasks is not None:
            block.tasks.load_moments(moments)
        else:
            assert block.stack is not None
            block.stack.load_moments(component - block.components.start, moments)

    @property
    def losses(self) -> list[dict[str, float]]:
        """Per component: its local losses on the last mini-batch, by name; empty before the first."""
        return [
            losses
            for block in self._blocks
            for losses in (block.stack.losses() if block.stack else [block.tasks.losses] if block.tasks else [])
        ]

    @property
    def spans(self) -> list[Span]:
        """When each task ran, if ``trace=True`` was asked for; else none. On a GPU, when the device ran it.

        Tasks that are launched as one share start and end.
        """
        return in_order([self._log]) if self._log is not None else []

    def _forget_spans(self) -> None:
        if self._log is not None:
            self._log.clear()
