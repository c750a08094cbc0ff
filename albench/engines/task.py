"""The tasks of one component: what task (i, k) is, wherever and whenever it runs.

Every engine that runs components one by one runs this very code, which is why they end bitwise equal: the same
arithmetic in the same order within a component, and nothing of one component depends on when another one runs.

On a CUDA device the learning rate is a float32 on that device, for every engine: a recorded update must be able to
read a new one, and Adam computes with a tensor in another last bit than with a number. What an update keeps from one
mini-batch to the next stays at its address, also when a state is loaded, because recordings hold addresses.

An engine that is to trace makes `TracedTasks`, which say when they ran; others know nothing of it (`component_tasks`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from albench.component import Component, Target, Update, refuse_graph
from albench.engines.adam import lean_step, tensorflow_epsilon
from albench.engines.errors import ComponentError
from albench.engines.layout import hand_on_densely
from albench.engines.options import EngineOptions
from albench.engines.span_log import SPANS_KEPT, SpanLog, watch_of
from albench.engines.state import Moments, load_moments, moments_of, named_parameters


class ComponentTasks:
    """Component i with its optimizer: runs task (i, k) for k = 0, 1, 2, …"""

    log: SpanLog | None = None
    """When its tasks ran, where that is asked for."""

    def __init__(self, index: int, component: Component, options: EngineOptions) -> None:
        self.index = index
        self.component = component
        self.draws: bool | None = None
        """Whether torch's global generator moved during the first task; None before it."""
        self._options = options
        self._last_losses: dict[str, Tensor] = {}
        groups = component.parameter_groups()
        self._on_cuda = any(parameter.is_cuda for group in groups for parameter in group.parameters)
        self.group_rates = [group.rate for group in groups]
        """Factor of the base rate for each parameter group."""
        base = options.rate_at(0)
        self._optimizer = torch.optim.Adam(
            [
                {
                    "params": list(group.parameters),
                    "lr": self._rate(base * group.rate, group.parameters),
                    "weight_decay": options.weight_decay * group.weight_decay,
                }
                for group in groups
            ],
            fused=True,
            capturable=self._on_cuda,
        )
        self._updates = 0
        """Updates made, where ε follows them; the optimizer's own count may lie on a device."""

    def _rate(self, rate: float, parameters: Sequence[Tensor]) -> float | Tensor:
        """Return a rate as Adam is to read it where these parameters are."""
        if not self._on_cuda:
            return rate
        return torch.full((), rate, dtype=torch.float32, device=parameters[0].device)

    def run(
        self,
        minibatch: int,
        features: Tensor,
        target: Target,
        *,
        lane: int = 0,  # noqa: ARG002 - for a trace
    ) -> tuple[Tensor, Target]:
        """Run task (i, k): update the component on mini-batch k and return what to hand on.

        What is handed on was computed before the update. Whatever the component raises is a `ComponentError`.
        """
        if callable(self._options.learning_rate):
            self._set_base_rate(self._options.rate_at(minibatch))
        before = _global_randomness(features.device) if self.draws is None else None
        try:
            update = self.update(features, target)
        except Exception as error:
            raise ComponentError(range(self.index, self.index + 1), minibatch, error) from error
        if before is not None:
            self.draws = not torch.equal(before, _global_randomness(features.device))
        # Without their graph: it would keep the mini-batch, and the nodes that accumulate gradients, which remember the
        # stream that this task ran on, for a later one on another stream.
        self._last_losses = {name: loss.detach() for name, loss in update.losses.items()}
        return update.features, update.target

    def update(self, features: Tensor, target: Target, *, idle: Tensor | None = None) -> Update:
        """Update the component on one mini-batch, without looking at anything on the device.

        `idle`: a float32 scalar on the component's device; where it is 1 Adam leaves weights, moments and its count of
        updates as they are. Only fused Adam knows how to: it is the flag by which gradient scaling skips a step.
        """
        update = hand_on_densely(refuse_graph(self.component(features, target)))
        self._optimizer.zero_grad(set_to_none=True)
        functools.reduce(operator.add, update.losses.values()).backward()  # type: ignore[no-untyped-call]
        if idle is None:
            if self._options.epsilon == "tensorflow":
                self._updates += 1
                for group in self._optimizer.param_groups:
                    group["eps"] = tensorflow_epsilon(self._updates)
            lean_step(self._optimizer)
            return update
        self._optimizer.found_inf = idle  # type: ignore[attr-defined]
        try:
            self._optimizer.step()
        finally:
            del self._optimizer.found_inf  # type: ignore[attr-defined]
        return update

    def _set_base_rate(self, base: float) -> None:
        for group, rate in zip(self._optimizer.param_groups, self.group_rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(base * rate)
            else:
                group["lr"] = base * rate

    def read_rates_from(self, rates: Sequence[Tensor]) -> None:
        """Let Adam read the rate of each parameter group from these scalars on the device, whatever they will hold."""
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def drop_gradients(self) -> None:
        """Forget the gradients of the last update."""
        self._optimizer.zero_grad(set_to_none=True)

    @property
    def losses(self) -> dict[str, float]:
        """The local losses of the last mini-batch; empty before the first."""
        return {name: loss.item() for name, loss in self._last_losses.items()}

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The names of the local losses of the last mini-batch, without waiting for their values."""
        return tuple(self._last_losses)

    def moments(self) -> Moments:
        """Return Adam's state by parameter name; empty for parameters that were never updated."""
        return moments_of(self._optimizer, named_parameters(self.component))

    def load_moments(self, moments: Moments) -> None:
        """Take Adam's state by parameter name, as `moments` returns it; what is there already is filled in place."""
        load_moments(self._optimizer, named_parameters(self.component), moments)
        if self._options.epsilon == "tensorflow":
            self._updates = max((int(saved["step"]) for saved in moments.values()), default=0)


class TracedTasks(ComponentTasks):
    """Component i with its optimizer and a log of when its tasks ran."""

    log: SpanLog

    def __init__(self, index: int, component: Component, options: EngineOptions, *, most_spans: int) -> None:
        super().__init__(index, component, options)
        device = next(p.device for group in component.parameter_groups() for p in group.parameters)
        self.log = SpanLog(watch_of(device), most_spans)

    def run(self, minibatch: int, features: Tensor, target: Target, *, lane: int = 0) -> tuple[Tensor, Target]:
        """Run task (i, k) as `ComponentTasks` does, and keep its span."""
        start = self.log.mark()
        onward = super().run(minibatch, features, target, lane=lane)
        self.log.add(start, self.log.mark(), lane, ((self.index, minibatch),))
        return onward


def component_tasks(
    index: int, component: Component, options: EngineOptions, *, most_spans: int = SPANS_KEPT
) -> ComponentTasks:
    """Return the tasks of component i, traced if the options say so: at most so many spans are kept then."""
    if options.trace:
        return TracedTasks(index, component, options, most_spans=most_spans)
    return ComponentTasks(index, component, options)


def _global_randomness(device: torch.device) -> Tensor:
    """Return the state of the generator that operators on a device draw from where they are given none."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
