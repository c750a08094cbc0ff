"""The fused engine: one tick is a handful of launches, however many components run in it.

Components of equal shape are stacked (`albench.engines.stack`) and a tick runs all of them at once, each on the
mini-batch that Table 1 gives it. A component that no neighbour resembles, as the first one of most networks, runs
beside the stack on its own. From one tick to the next everything moves on by one slot:

    tick 3      slot 0: mini-batch 3   slot 1: mini-batch 2   slot 2: mini-batch 1   slot 3: mini-batch 0
    tick 4      slot 0: mini-batch 4   slot 1: mini-batch 3   slot 2: mini-batch 2   slot 3: mini-batch 1

While the pipeline fills and drains only the slots that have a mini-batch run; nothing trains on rubbish. A mini-batch
of another shape than the one before (the ragged last one of an epoch) waits until the pipeline has drained.

Stacking sums a few numbers in another order than one component alone would, so the result is equal to `serial` up to
rounding, not bitwise. It pays where launches cost more than arithmetic: small layers on a CPU, most layers on a GPU.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from albench.component import ComponentNetwork, Target, map_target
from albench.engines.engine import Engine, Input
from albench.engines.errors import ComponentError
from albench.engines.options import EngineOptions
from albench.engines.stack import Stack, refusal, shape_signature
from albench.engines.state import Moments
from albench.engines.task import ComponentTasks, Span
from albench.errors import UsageError
from albench.machine import usable_cores


class HandedOn(NamedTuple):
    """What the active components of one block handed on in one tick, one entry a slot."""

    first: int
    """Component of the first entry."""
    features: Tensor
    target: Target


@dataclass(frozen=True, kw_only=True)
class Block:
    """Neighbouring components that run as one: a stack, or a component alone."""

    components: range
    stack: Stack | None
    """None: a single component, run by `tasks`."""
    tasks: ComponentTasks | None


class FusedEngine(Engine):
    """Runs `albench.schedule.pipelined` tick by tick, stacked; its lanes are threads that share each operator."""

    name = "fused"
    lane_kind = "intra-op-thread"

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
                self._blocks.append(Block(components=components, stack=Stack(members, options), tasks=None))
            elif len(members) == 1:
                tasks = ComponentTasks(first, members[0], options)
                self._blocks.append(Block(components=components, stack=None, tasks=tasks))
            else:
                raise UsageError(f"component {first} cannot be stacked: {reason}; use engine 'serial' or 'threads'")
            first = components.stop
        if len(self.components) > 2 and len(self._blocks) == len(self.components):
            raise UsageError(
                "no two neighbouring components have the same layers and shapes, so there is nothing to stack; "
                "use engine 'serial' or 'threads'"
            )
        self._spans: list[Span] = []

    def _choose_lanes(self) -> int:
        return self.options.lanes or usable_cores()

    @property
    def intra_op_threads(self) -> int:
        """Threads that share the components of a batched operator: this engine's lanes."""
        return self.lanes

    def _run(self, inputs: Iterator[Input]) -> None:
        for block in self._blocks:
            if block.stack:
                block.stack.gather()
        try:
            for _, segment in itertools.groupby(inputs, key=_layout):
                self._run_pipeline(segment)
        finally:
            for block in self._blocks:
                if block.stack:
                    block.stack.scatter()

    def _run_pipeline(self, inputs: Iterator[Input]) -> None:
        """Fill, run and drain the pipeline on mini-batches of one shape."""
        count = len(self.components)
        handed_on: list[HandedOn | None] = [None] * len(self._blocks)
        low = high = 0  # the active components of the tick before
        newest = -1  # the mini-batch of component 0, or where it would be: component i is at newest - i
        draining = False
        while True:
            item = None if draining else next(inputs, None)
            draining = item is None
            if item is not None:
                newest, low = item.minibatch, 0
            else:
                newest, low = newest + 1, low + 1
            high = min(high + 1, count)
            if low >= high:
                return
            for b in reversed(range(len(self._blocks))):
                components = self._blocks[b].components
                start, stop = max(low, components.start), min(high, components.stop)
                if start < stop:
                    upstream = handed_on[b - 1] if b else None
                    ready = _inputs(start, stop, components.start, handed_on[b], upstream, item)
                    handed_on[b] = self._run_block(self._blocks[b], newest - start, start, stop, ready)
                else:
                    handed_on[b] = None

    def _run_block(self, block: Block, minibatch: int, start: int, stop: int, ready: HandedOn) -> HandedOn:
        """Run the tasks of components start … stop-1 of one block; component `start` is at `minibatch`."""
        start_seconds = time.perf_counter() if self.options.trace else 0.0
        if block.tasks is not None:
            target = map_target(lambda t: t[0], ready.target)
            features, target = block.tasks.run(minibatch, ready.features[0], target)
            handed_on = HandedOn(start, features.unsqueeze(0), map_target(lambda t: t.unsqueeze(0), target))
        else:
            assert block.stack is not None
            low, high = start - block.components.start, stop - block.components.start
            try:
                features, target = block.stack.run(minibatch, low, high, ready.features, ready.target)
            except UsageError:
                raise
            except Exception as error:
                raise ComponentError(range(start, stop), minibatch, error) from error
            handed_on = HandedOn(start, features, target)
        if self.options.trace:
            end_seconds = time.perf_counter()
            self._spans += [Span(i, minibatch - (i - start), 0, start_seconds, end_seconds) for i in range(start, stop)]
        return handed_on

    def _block_of(self, component: int) -> Block:
        return next(block for block in self._blocks if component in block.components)

    def _moments(self, component: int) -> Moments:
        block = self._block_of(component)
        if block.tasks is not None:
            return block.tasks.moments()
        assert block.stack is not None
        return block.stack.moments(component - block.components.start)

    def _load_moments(self, component: int, moments: Moments) -> None:
        block = self._block_of(component)
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
        """When each task ran, if ``trace=True`` was asked for; tasks of one stack share start and end."""
        return list(self._spans)


def _layout(item: Input) -> tuple[Any, ...]:
    """Return what must agree for two mini-batches to travel in one pipeline: shapes and kind of the target."""
    shapes: list[tuple[int, ...]] = []

    def note(tensor: Tensor) -> Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    map_target(note, item.target)
    return tuple(item.features.shape), *shapes


def _inputs(
    start: int, stop: int, block_first: int, own: HandedOn | None, upstream: HandedOn | None, item: Input | None
) -> HandedOn:
    """Return the inputs of components start … stop-1: each takes what its predecessor handed on a tick ago.

    The predecessors are in the same block but for the block's first component, which takes from the block before or,
    as component 0, the new mini-batch.
    """
    parts: list[HandedOn] = []
    if start == block_first:
        if start == 0:
            assert item is not None
            parts.append(HandedOn(0, item.features.unsqueeze(0), map_target(lambda t: t.unsqueeze(0), item.target)))
        else:
            assert upstream is not None
            last = start - 1 - upstream.first
            parts.append(_slice(upstream, last, last + 1))
    inside = range(max(start, block_first + 1) - 1, stop - 1)  # predecessors in the same block
    if len(inside):
        assert own is not None
        parts.append(_slice(own, inside.start - own.first, inside.stop - own.first))
    if len(parts) == 1:
        return parts[0]
    features = torch.cat([part.features for part in parts])
    target = map_target(lambda *tensors: torch.cat(tensors), *(part.target for part in parts))
    return HandedOn(start, features, target)


def _slice(handed_on: HandedOn, low: int, high: int) -> HandedOn:
    return HandedOn(
        handed_on.first + low, handed_on.features[low:high], map_target(lambda t: t[low:high], handed_on.target)
    )
