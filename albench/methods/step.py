"""Step: one update of back-propagation, launched operator by operator, compiled, recorded, or both.

    forward pass, loss    cross_entropy(network(x), y)        "compiled": one piece of code each for these two …
    backward pass         the gradients of all parameters     … and the optimizer's kernel as it is
    update                one fused Adam                      "graph": all three are one launch

"compiled-graph" records what was compiled. All do the same sums. Recorded, they are the same kernels too, so the result
is that of the eager step to the bit; compiled, sums may run in another order.

What is prepared (compiled, recorded) fits mini-batches of one layout: that of the first one that is trained on. Others,
as the ragged last one of an epoch, run operator by operator, and a note says so. Preparing for them as well would cost
more than it saves: compiling takes as long as thousands of steps, and every recording holds memory of its own. So there
is one preparation in a trainer's life, and none where nobody expects it.

A recording's warm-ups train for real. They are undone in place, because recordings hold addresses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from albench.engines.adam import lean_step
from albench.engines.capture import record
from albench.engines.compilation import not_compiled, without_advice, without_guards
from albench.engines.slots import Layout, layout_of
from albench.engines.state import MOMENTS
from albench.errors import UsageError, unknown_name

LossOf = Callable[[Tensor, Tensor], Tensor]
"""From x ``[B, …]`` and y ``[B]`` to the loss, a scalar with a graph to the parameters."""


class Snapshot:
    """Weights and Adam's state at one moment, to be put back where they lie."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._weights = [(tensor, tensor.clone()) for tensor in network.state_dict().values()]
        self._moments = {
            parameter: {moment: state[moment].clone() for moment in MOMENTS}
            for parameter, state in optimizer.state.items()
        }

    def restore(self) -> None:
        """Put everything back in place, and drop the gradients; state that Adam made since starts from zeros."""
        with torch.no_grad():
            for tensor, value in self._weights:
                tensor.copy_(value)
            for parameter, state in self._optimizer.state.items():
                saved = self._moments.get(parameter)
                for moment in MOMENTS:
                    if saved:
                        state[moment].copy_(saved[moment])
                    else:
                        state[moment].zero_()  # as Adam makes it on its first step
        self._optimizer.zero_grad(set_to_none=True)


class Step:
    """The step that a user would write, operator by operator."""

    device_types: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    """Devices that it runs on; tests add the CPU where it is missing."""
    recorded: ClassVar[bool] = False
    """Whether the update is recorded, and with it every number that is not a tensor."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._network = network
        self._optimizer = optimizer
        self.stream: Any = None
        """Where a recording is made, if anything is recorded; None: on a new stream."""
        self.notes: list[str] = []
        """What a user should know, such as a compiler that is missing."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Update the network on x ``[B, …]`` and y ``[B]``; return the loss before the update, without its graph."""
        return self._update(self._loss_of, x, y)

    def release(self) -> None:
        """Forget what was prepared, and with it its memory."""

    def _loss_of(self, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(self._network(x), y)

    def _update(self, loss_of: LossOf, x: Tensor, y: Tensor) -> Tensor:
        loss = loss_of(x, y)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        lean_step(self._optimizer)
        # Its graph would keep the nodes that accumulate gradients, which remember the stream that they were made on.
        return loss.detach()


class PreparedStep(Step, ABC):
    """A step with a fast way for mini-batches of the first one's layout."""

    prepared: ClassVar[str]
    """What the fast way is, as notes say it."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(network, optimizer)
        self._layout: Layout = None
        self._fast: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Update the network, the fast way where the mini-batch fits it."""
        layout = layout_of(x, y)
        if self._layout is None:
            self._layout = layout
            self._fast = self._prepare(x, y)
        if self._fast is None:
            return super().__call__(x, y)
        if layout == self._layout:
            return self._fast(x, y)
        note = f"mini-batches that differ from the first one's {list(self._layout[0][0])} were not {self.prepared}"
        if note not in self.notes:
            self.notes.append(note)
        return super().__call__(x, y)

    def release(self) -> None:
        """Forget what was prepared; the next mini-batch is the first one again."""
        if self._fast is not None and self._layout is not None and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()  # its last replay may still be at work
        self._fast, self._layout = None, None

    def _compile(self, x: Tensor, y: Tensor) -> LossOf | None:
        """Return forward pass and loss compiled, the backward pass with them; None, and a note, where that fails."""
        network = self._network

        def loss_of(x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(network(x), y)

        statistics = [(buffer, buffer.clone()) for buffer in network.buffers()]
        try:
            compiled = without_guards(loss_of)
            with without_advice():
                compiled(x, y).backward()  # type: ignore[no-untyped-call]  # the backward pass is compiled here
        except Exception as error:
            self.notes.append(not_compiled(error))
            return None
        finally:
            for buffer, value in statistics:  # the pass was no update, and BatchNorm counts every pass
                buffer.copy_(value)
        return compiled

    @abstractmethod
    def _prepare(self, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return the fast way for mini-batches like this one, or None where there is none; train on nothing."""


class CompiledStep(PreparedStep):
    """Forward pass, loss and backward pass compiled; the optimizer's fused kernel as it is."""

    prepared = "compiled"

    def _prepare(self, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor] | None:
        compiled = self._compile(x, y)
        return None if compiled is None else lambda x, y: self._update(compiled, x, y)


class GraphStep(PreparedStep):
    """The whole step in one CUDA graph: a mini-batch costs the host two copies and one replay, at any depth."""

    device_types = frozenset({"cuda"})
    prepared = "recorded"
    recorded = True

    def _prepare(self, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return self._recorded(self._loss_of, x, y)

    def _recorded(self, loss_of: LossOf, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the step with this loss, recorded for mini-batches like this one."""
        static_x, static_y = x.clone(), y.clone()
        loss = torch.zeros((), dtype=x.dtype, device=x.device)

        def body() -> None:
            loss.copy_(self._update(loss_of, static_x, static_y))

        before = Snapshot(self._network, self._optimizer)
        replay = record(body, device=x.device, stream=self.stream)
        before.restore()  # and drops the gradients, which lie in the recording's memory

        def fast(x: Tensor, y: Tensor) -> Tensor:
            static_x.copy_(x)
            static_y.copy_(y)
            replay()
            return loss

        return fast


class CompiledGraphStep(GraphStep):
    """Compiled, and then recorded: neither Python nor a launch for each layer is left."""

    prepared = "compiled and recorded"

    def _prepare(self, x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        return self._recorded(self._compile(x, y) or self._loss_of, x, y)


STEPS: dict[str, type[Step]] = {
    "eager": Step,
    "compiled": CompiledStep,
    "graph": GraphStep,
    "compiled-graph": CompiledGraphStep,
}
"""Engine → how its step runs."""


def make_step(
    engine: str, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device, *, stream: Any = None
) -> Step:
    """Return the step of an engine; `UsageError` for an unknown one, or for one that does not run on `device`.

    `stream`: where a recording is made and replayed, if not on the caller's.
    """
    if engine not in STEPS:
        raise unknown_name("engine of method 'bp'", engine, STEPS)
    kind = STEPS[engine]
    if device.type not in kind.device_types:
        raise UsageError(
            f"engine {engine!r} runs on a CUDA device and the network is on {device}: "
            "give device 'cuda', or use engine 'eager' or 'compiled'"
        )
    step = kind(network, optimizer)
    step.stream = stream
    return step
