"""Tick: one time unit of Table 1 as a body that is the same every time, so that it can be captured or compiled once.

Every slot of every stack has its input in a buffer that never moves. A tick runs all slots, and what slot j hands on
is slot j+1's input in the next tick. All that differs from tick to tick travels with the mini-batch, as tensors:

                  slot 0   slot 1   slot 2   slot 3
    features      x_5      s(x_4)   s(x_3)    –
    target        t_5      t(t_4)   t(t_3)    –
    base rate     1e-4     1e-4     2e-4      –
    active        yes      yes      yes       no        one more tick and mini-batch 3 has reached slot 3

So the host writes what enters slot 0 and launches the body: its work does not grow with depth, it waits for nothing,
and a rate that follows the mini-batch index needs no second recording. While the pipeline
fills and drains the *masked* body runs: idle slots compute on what lies there, and what they computed is thrown away.
Where launches are counted and slots are all active the *steady* body does without that.

On a GPU both bodies are captured (`albench.engines.capture`). On any device the masked body can be compiled instead:
the compiler makes one loop of what is dozens of launches, and the mask costs nothing there, so one body serves always.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from albench.component import Target, map_target
from albench.engines.adam import as_read_on, corrections
from albench.engines.capture import record
from albench.engines.compilation import not_compiled, without_advice, without_guards
from albench.engines.engine import Input
from albench.engines.stack import Stack
from albench.machine import COMPILES_TICKS_RIGHT, version_pair

Layout = tuple[Any, ...]
"""What must agree for mini-batches to share buffers: shapes, and which tensors the target has."""


def layout_of(features: Tensor, target: Target, *, skip: int = 0) -> Layout:
    """Return the layout of one mini-batch, or of a stack of them without its first `skip` dimensions."""
    return tuple(None if t is None else t.shape[skip:] for t in (features, *_parts(target)))


def _parts(target: Target) -> Iterator[Tensor | None]:
    """Yield the tensors of a target, and None where there could be one."""
    if isinstance(target, tuple):
        for part in target:
            yield from _parts(part)
    else:
        yield target


class Tick:
    """The static buffers of a pipeline of stacks for mini-batches of one layout, and the body that runs a tick."""

    def __init__(
        self, stacks: Sequence[Stack], first: Input, *, compiled: bool, pool: Any = None, stream: Any = None
    ) -> None:
        """`first` is a mini-batch of the layout; it lends its shapes and is not trained on. `pool`, `stream`: see
        `record`."""
        self._stacks = list(stacks)
        self.compiled = compiled
        """Whether the body is compiled; False too where that was asked for and failed."""
        self.layout = layout_of(first.features, first.target)
        self.count = sum(map(len, self._stacks))
        """Slots of all stacks: components."""
        self.active_slots = 0
        """Bit i is set while component i has a mini-batch; the host's own copy, so that it need not ask the device."""
        self.recordings = 0
        """Bodies that were captured or compiled; where neither is to be had, made ready."""
        self.notes: list[str] = []
        """What a user should know, such as a compiler that is missing."""
        device, kind = first.features.device, first.features.dtype
        self._active = torch.zeros(self.count, dtype=torch.bool, device=device)
        self._rate = torch.ones(self.count, dtype=kind, device=device)
        self._mean_correction = torch.ones_like(self._rate)
        self._root_correction = torch.ones_like(self._rate)
        self._sides: list[Any] = []
        """Where there are streams: one for each stack but the first, which runs on the tick's own."""
        if device.type == "cuda":
            self._sides = [torch.cuda.Stream(device) for _ in self._stacks[1:]]  # type: ignore[no-untyped-call]
        self._features: list[Tensor] = []
        self._targets: list[Target] = []
        features, target = first.features.unsqueeze(0), map_target(lambda t: t.unsqueeze(0), first.target)
        for stack in self._stacks:
            slots = len(stack)
            # Filled with a real mini-batch: what idle slots compute on must be harmless, a label in range for one.
            self._features.append(_repeat(features, slots))
            self._targets.append(map_target(lambda t, slots=slots: _repeat(t, slots), target))
            features, target = stack.probe(features, target)
        # Slot 0 is what the host writes to; views made once, because making one takes longer than a small copy.
        self._entry = [t[0] for t in (self._features[0], *_parts(self._targets[0])) if t is not None]
        self._entry_rate, self._entry_active = self._rate[0], self._active[0]
        self._rate_written, self._active_written = 1.0, False
        self.refresh()
        self._masked = self._prepare(lambda: self._advance(masked=True), device, pool, stream)
        self._steady = self._masked
        if not self.compiled:
            # Preparing may run the body, and this one trains whatever lies in the buffers.
            saved = [buffer.clone() for stack in self._stacks for buffer in stack.buffers]
            self._steady = self._prepare(lambda: self._advance(masked=False), device, pool, stream)
            for buffer, value in zip((b for stack in self._stacks for b in stack.buffers), saved, strict=True):
                buffer.copy_(value)
            self.refresh()

    def refresh(self) -> None:
        """Read anew how many updates each slot has made: after any that were not made here."""
        mean, root = corrections(torch.cat([stack.steps for stack in self._stacks]))
        self._mean_correction.copy_(mean)
        self._root_correction.copy_(root)

    def reset(self) -> None:
        """Forget the mini-batches under way."""
        self.active_slots = 0
        self._active.zero_()
        self._active_written = False

    def enter(self, item: Input, rate: float) -> None:
        """Put a mini-batch of this layout into slot 0, to be trained on at base rate `rate`."""
        torch._foreach_copy_(self._entry, [t for t in (item.features, *_parts(item.target)) if t is not None])
        if rate != self._rate_written:
            self._entry_rate.fill_(as_read_on(self._entry_rate.device, rate))
            self._rate_written = rate
        self.active_slots |= 1

    def run(self) -> None:
        """Run every active slot, and move all mini-batches on by one."""
        full = (1 << self.count) - 1
        entering = bool(self.active_slots & 1)
        if entering != self._active_written:
            self._entry_active.fill_(entering)
            self._active_written = entering
        with torch.no_grad():
            (self._steady if self.active_slots == full else self._masked)()
        self.active_slots = self.active_slots << 1 & full

    def _advance(self, *, masked: bool) -> None:
        """The body: nothing in it depends on a value that only the device knows."""
        step_size = self._rate * self._mean_correction
        handed_on = []
        start = 0
        with self._side_by_side() as on_its_own:
            for i, (stack, features, target) in enumerate(
                zip(self._stacks, self._features, self._targets, strict=True)
            ):
                slots = slice(start, start + len(stack))
                with on_its_own(i):
                    handed_on.append(
                        stack.advance(
                            features,
                            target,
                            rate=step_size[slots],
                            root_correction=self._root_correction[slots],
                            active=self._active[slots] if masked else None,
                            by_column=self.compiled,
                        )
                    )
                start = slots.stop
        # From the end, because what is handed on may be an input buffer itself: labels go through as they are.
        for i in reversed(range(len(self._stacks))):
            before = handed_on[i - 1] if i else (self._features[0], self._targets[0])
            _shift(self._features[i], before[0], handed_on[i][0])
            map_target(_shift, self._targets[i], before[1], handed_on[i][1])
        # Kept from one tick to the next, rather than found where they are used: a compiler would work them out again
        # for every few weights.
        mean, root = corrections(torch.cat([stack.steps for stack in self._stacks]))
        self._mean_correction.copy_(mean)
        self._root_correction.copy_(root)
        _shift(self._rate, self._rate[:1], self._rate)
        _shift(self._active, self._active[:1], self._active)

    @contextlib.contextmanager
    def _side_by_side(self) -> Iterator[Callable[[int], contextlib.AbstractContextManager[Any]]]:
        """Let the stacks run at once: a small one, such as a first component of its own size, leaves a GPU idle."""
        if self.compiled or not self._sides:
            yield lambda _: contextlib.nullcontext()
            return
        main = torch.cuda.current_stream(self._sides[0].device)
        for side in self._sides:
            side.wait_stream(main)
        yield lambda i: torch.cuda.stream(self._sides[i - 1]) if i else contextlib.nullcontext()
        for side in self._sides:
            main.wait_stream(side)

    def _prepare(self, body: Callable[[], None], device: torch.device, pool: Any, stream: Any) -> Callable[[], None]:
        self.recordings += 1
        with torch.no_grad():
            if self.compiled:
                body = self._compile(body)
            return record(body, device=device, pool=pool, stream=stream)

    def _compile(self, body: Callable[[], None]) -> Callable[[], None]:
        """Return `body` compiled, or as it is where that fails."""
        if self._features[0].device.type == "cpu" and torch_version() < COMPILES_TICKS_RIGHT:
            self.notes.append(
                f"not compiled (torch {torch.__version__} does it wrongly for a CPU: install 2.12 or newer)"
            )
            self.compiled = False
            return body
        try:
            compiled = without_guards(body)
            with _gradients_traced(), without_advice():
                compiled()  # compiles, and then runs with every slot idle
        except Exception as error:
            self.notes.append(not_compiled(error))
            self.compiled = False
            return body
        return compiled


def torch_version() -> tuple[int, int]:
    """Return major and minor version."""
    return version_pair(torch.__version__)


def _gradients_traced() -> contextlib.AbstractContextManager[None]:
    """Let torch compile a body in which autograd finds gradients, where this torch can: it has to be asked to."""
    config: Any = torch._dynamo.config
    return config.patch(trace_autograd_ops=True) if hasattr(config, "trace_autograd_ops") else contextlib.nullcontext()


def _repeat(tensor: Tensor, slots: int) -> Tensor:
    """Return a buffer ``[slots, …]`` filled with ``[1, …]``."""
    return tensor.expand(slots, *tensor.shape[1:]).clone()


def _shift(held: Tensor, before: Tensor, handed_on: Tensor) -> Tensor:
    """Fill a stack's input buffer for the next tick: slot 0 from the last slot before it, the others from their own."""
    if len(held) == 1:
        return held.copy_(before[-1:])
    # Built anew first: the parts may lie in the buffer itself.
    return held.copy_(torch.cat([before[-1:], handed_on[:-1]]))
