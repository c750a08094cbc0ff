"""The tasks of one component: what task (i, k) is, wherever and whenever it runs.

Every engine that runs components one by one runs this very code, which is why they end bitwise equal: the same
arithmetic in the same order within a component, and nothing of one component depends on when another one runs.
"""

from __future__ import annotations

import functools
import operator
import time
from typing import NamedTuple

import torch
from torch import Tensor

from albench.component import Component, Target, refuse_graph
from albench.engines.errors import ComponentError
from albench.engines.options import EngineOptions
from albench.engines.state import MOMENTS, Moments, named_parameters


class Span(NamedTuple):
    """When one task ran."""

    component: int
    minibatch: int
    lane: int
    start_seconds: float
    """On the clock of ``time.perf_counter``."""
    end_seconds: float


class ComponentTasks:
    """Component i with its optimizer: runs task (i, k) for k = 0, 1, 2, …"""

    def __init__(self, index: int, component: Component, options: EngineOptions) -> None:
        self.index = index
        self.component = component
        self.spans: list[Span] = []
        self._options = options
        self._last_losses: dict[str, Tensor] = {}
        groups = component.parameter_groups()
        self._group_rates = [group.rate for group in groups]
        base = options.rate_at(0)
        self._optimizer = torch.optim.Adam(
            [{"params": list(group.parameters), "lr": base * group.rate} for group in groups],
            weight_decay=options.weight_decay,
            fused=True,
        )

    def run(self, minibatch: int, features: Tensor, target: Target, *, lane: int = 0) -> tuple[Tensor, Target]:
        """Run task (i, k): update the component on mini-batch k and return what to hand on.

        What is handed on was computed before the update. Whatever the component raises is a `ComponentError`.
        """
        start = time.perf_counter() if self._options.trace else 0.0
        if callable(self._options.learning_rate):
            base = self._options.rate_at(minibatch)
            for group, rate in zip(self._optimizer.param_groups, self._group_rates, strict=True):
                group["lr"] = base * rate
        try:
            update = refuse_graph(self.component(features, target))
            self._optimizer.zero_grad(set_to_none=True)
            functools.reduce(operator.add, update.losses.values()).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        except Exception as error:
            raise ComponentError(range(self.index, self.index + 1), minibatch, error) from error
        self._last_losses = update.losses
        if self._options.trace:
            self.spans.append(Span(self.index, minibatch, lane, start, time.perf_counter()))
        return update.features, update.target

    @property
    def losses(self) -> dict[str, float]:
        """The local losses of the last mini-batch; empty before the first."""
        return {name: loss.item() for name, loss in self._last_losses.items()}

    def moments(self) -> Moments:
        """Return Adam's state by parameter name; empty for parameters that were never updated."""
        state = self._optimizer.state
        return {
            name: {moment: state[parameter][moment].clone() for moment in MOMENTS}
            for name, parameter in named_parameters(self.component).items()
            if parameter in state
        }

    def load_moments(self, moments: Moments) -> None:
        """Take Adam's state by parameter name, as `moments` returns it."""
        self._optimizer.state.clear()
        for name, parameter in named_parameters(self.component).items():
            if name in moments:
                self._optimizer.state[parameter] = {
                    moment: moments[name][moment].to(
                        device=parameter.device, dtype=torch.float32 if moment == "step" else parameter.dtype, copy=True
                    )
                    for moment in MOMENTS
                }
