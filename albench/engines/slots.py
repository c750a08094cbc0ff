"""Slots: a tick of the pipeline as one body of launches on tensors that never move.

Slot i is the static input of component i: features and target of the mini-batch that is there, a flag that says
whether there is one, and the base rate of its mini-batch. A tick runs every component on its slot, on as many lanes as
there are, and then moves everything on by one slot:

    slot 0 ◄ mini-batch 3     slot 1: mini-batch 2     slot 2: mini-batch 1     slot 3: mini-batch 0
       │ task (0, 3)             │ task (1, 2)            │ task (2, 1)            │ task (3, 0)      lanes in parallel
       └──────── hands on ──►    └──────── hands on ──►   └──────── hands on ──►   done               then all join

The body always runs all components, because a recorded graph cannot leave one out. Where a slot is idle its component
computes on whatever lies there, and nothing of it is kept: Adam skips the step, buffers and losses stay as they were.
So flags and rates are tensors that travel with the mini-batch, and the host says only what enters slot 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from albench.component import Target, Update, map_target
from albench.engines.errors import ComponentError
from albench.engines.lanes import Lanes
from albench.engines.task import ComponentTasks

Layout = Any
"""Shapes, types and strides of features and target; equal layouts can use the same slots."""


def tensors_of(features: Tensor, target: Target) -> list[Tensor]:
    """Return the features and every tensor of the target."""
    found = [features]

    def add(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    map_target(add, target)
    return found


def layout_of(features: Tensor, target: Target) -> Layout:
    """Return the layout of what a component takes."""
    return _layout(features), _layout(target)


def _layout(part: Any) -> Layout:
    if isinstance(part, Tensor):
        return tuple(part.shape), part.stride(), part.dtype
    return tuple(map(_layout, part)) if isinstance(part, tuple) else None


class Passage(NamedTuple):
    """What one mini-batch looked like at every component, and what its losses were called."""

    layout: Layout
    """Of the mini-batch at component 0."""
    inputs: list[tuple[Tensor, Target]]
    """Features and target at each component, tensors without data (``device="meta"``)."""
    losses: list[tuple[str, ...]]


class LastLosses(NamedTuple):
    """The losses of each component on the last mini-batch that was in its slot; they outlive the slots."""

    values: Tensor
    names: list[tuple[str, ...]]

    def read(self) -> list[dict[str, float]]:
        """Return them by name, one entry a component. Waits for the device."""
        values = iter(self.values.tolist())
        return [{name: next(values) for name in names} for names in self.names]


class Slots:
    """The static inputs of all components for mini-batches of one layout, and the body of a tick."""

    def __init__(self, tasks: Sequence[ComponentTasks], passage: Passage, *, device: torch.device, rates: bool) -> None:
        """Allocate empty slots on `device`. `rates`: whether the base rate changes and has to travel along."""
        count = len(tasks)
        self.layout = passage.layout
        self._tasks = tasks
        self._modules = [cast("nn.Module", each.component) for each in tasks]
        self._layouts = [layout_of(*entry) for entry in passage.inputs]

        def empty(like: Tensor) -> Tensor:
            return torch.zeros_like(like, device=device)

        self._inputs = [(empty(features), map_target(empty, target)) for features, target in passage.inputs]
        self._addresses = {_address(tensor) for entry in self._inputs for tensor in tensors_of(*entry)}
        self._idle = torch.ones(count, dtype=torch.float32, device=device)
        self._flags = list(self._idle.unbind())
        self._entering_idle: bool | None = None
        self._loss_slots = _repeated([len(names) for names in passage.losses], device)
        values = torch.zeros(len(self._loss_slots), dtype=torch.float64, device=device)
        self.losses = LastLosses(values, passage.losses)
        self._rates: Tensor | None = None
        if rates:
            self._set_up_rates(count, device)
        self.clear()

    def _set_up_rates(self, count: int, device: torch.device) -> None:
        # In float64 up to the last step, as the host multiplies them for a task that is not recorded.
        self._rates = torch.ones(count, dtype=torch.float64, device=device)
        self._entering_rate: float | None = None
        factors = [each.group_rates for each in self._tasks]
        self._rate_slots = _repeated([len(group) for group in factors], device)
        self._factors = torch.tensor(list(itertools.chain(*factors)), dtype=torch.float64, device=device)
        kind = torch.float32 if device.type == "cuda" else torch.float64
        self._group_rates = torch.ones(len(self._factors), dtype=kind, device=device)
        scalars = iter(self._group_rates.unbind())
        for each, group in zip(self._tasks, factors, strict=True):
            each.read_rates_from([next(scalars) for _ in group])

    def clear(self) -> None:
        """Mark every slot as idle."""
        self._idle.fill_(1)
        self._entering_idle = True

    def enter(self, features: Tensor, target: Target, rate: float | None) -> None:
        """Put a mini-batch into slot 0, and its base rate if rates travel."""
        _copy_all(tensors_of(*self._inputs[0]), tensors_of(features, target))
        if self._rates is not None and rate != self._entering_rate:
            assert rate is not None
            self._rates[0].fill_(rate)
            self._entering_rate = rate
        if self._entering_idle:
            self._flags[0].fill_(0)
            self._entering_idle = False

    def enter_nothing(self) -> None:
        """Leave slot 0 idle in the next tick."""
        if not self._entering_idle:
            self._flags[0].fill_(1)
            self._entering_idle = True

    def tick(self, lanes: Lanes, blocks: Sequence[range], minibatch_at: Callable[[int], int]) -> None:
        """Run every component on its slot, one lane a block of components, and move everything on by one slot.

        Called with the stream of lane 0 as the current one. `minibatch_at` says which mini-batch is in a slot, for
        errors: whatever a component raises is a `ComponentError`.
        """
        idle = self._idle > 0
        if self._rates is not None:
            self._group_rates.copy_(self._rates.index_select(0, self._rate_slots) * self._factors)
        updates: list[Update] = []
        main = lanes.streams[0]
        for stream in lanes.streams[1:]:
            stream.wait_stream(main)
        for lane, block in enumerate(blocks):
            with lanes.on(lane):
                for i in block:
                    try:
                        updates.append(self._run(i, idle[i]))
                    except Exception as error:
                        raise ComponentError(range(i, i + 1), minibatch_at(i), error) from error
        for stream in lanes.streams[1:]:
            main.wait_stream(stream)
        with torch.no_grad():
            found = torch.stack([loss for update in updates for loss in update.losses.values()])
            last = self.losses.values
            last.copy_(torch.where(idle.index_select(0, self._loss_slots), last, found))
            self._move_on(updates)

    def _run(self, i: int, idle: Tensor) -> Update:
        """Run component i on its slot; what an idle slot computes is handed on, and nothing else is left of it."""
        module = self._modules[i]
        buffers = list(module.buffers())
        before = [buffer.clone() for buffer in buffers]
        update = self._tasks[i].update(*self._inputs[i], idle=self._flags[i])
        if any(now is not buffer for now, buffer in zip(module.buffers(), buffers, strict=True)):
            raise TypeError("the component puts a new tensor in the place of a buffer: update buffers in place")
        with torch.no_grad():
            for buffer, kept in zip(buffers, before, strict=True):
                buffer.copy_(torch.where(idle, kept, buffer))
        if i + 1 < len(self._layouts) and layout_of(update.features, update.target) != self._layouts[i + 1]:
            raise ValueError("the component hands on other shapes than it did for an equal mini-batch")
        if tuple(update.losses) != self.losses.names[i]:
            raise ValueError("the component has other losses than it had for an equal mini-batch")
        # Without their graph, whose memory the next component of the lane can then use.
        return update._replace(losses={name: loss.detach() for name, loss in update.losses.items()})

    def _move_on(self, updates: Sequence[Update]) -> None:
        """Put what component i hands on into slot i + 1, and flags and rates along with it."""
        sources = [t for update in updates[:-1] for t in tensors_of(update.features, update.target)]
        # Labels, say, are handed on as they came: that memory is itself written here, so it is read first.
        through = [j for j, tensor in enumerate(sources) if _address(tensor) in self._addresses]
        held = [torch.empty_like(sources[j]) for j in through]
        _copy_all(held, [sources[j] for j in through])
        for j, tensor in zip(through, held, strict=True):
            sources[j] = tensor
        _copy_all([t for entry in self._inputs[1:] for t in tensors_of(*entry)], sources)
        for travelling in (self._idle, self._rates):
            if travelling is not None:
                travelling[1:].copy_(travelling[:-1].clone())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _repeated(counts: Sequence[int], device: torch.device) -> Tensor:
    """Return the index of each slot as often as its count says."""
    return torch.tensor([i for i, count in enumerate(counts) for _ in range(count)], dtype=torch.int64, device=device)


def _copy_all(destinations: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensor by tensor, with one call a type, which is as many launches as it takes."""
    by_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for destination, source in zip(destinations, sources, strict=True):
        to, of = by_type.setdefault(destination.dtype, ([], []))
        to.append(destination)
        of.append(source)
    for to, of in by_type.values():
        torch._foreach_copy_(to, of)
