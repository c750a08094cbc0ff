"""Replica: a component that trains on another GPU than the one its network is on.

One process can drive many GPUs, a lane on each. The network stays in one place, where its owner evaluates and saves it;
a lane elsewhere trains a copy of its components, brought up to date before a run and written back after it.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from albench.engines.copies import extra_states, modes_of, set_extra_states, set_modes
from albench.engines.options import EngineOptions
from albench.engines.span_log import SPANS_KEPT
from albench.engines.task import component_tasks


class Replica:
    """The copy of one component, and its tasks."""

    def __init__(
        self,
        index: int,
        component: Any,
        device: torch.device,
        options: EngineOptions,
        *,
        most_spans: int = SPANS_KEPT,
    ) -> None:
        self._original = component
        self._copy = copy.deepcopy(component).to(device)
        generator = getattr(component, "generator", None)
        if isinstance(generator, torch.Generator) and generator.device.type == device.type != "cpu":
            self._copy.generator = torch.Generator(device)  # one belongs to one device, and does not move
        self.tasks = component_tasks(index, self._copy, options, most_spans=most_spans)

    def fetch(self) -> None:
        """Take weights, buffers, randomness and modes as the network has them."""
        set_modes([self._copy], modes_of([self._original]))
        _pass_on(self._original, self._copy)

    def give_back(self) -> None:
        """Write weights, buffers and randomness into the network."""
        _pass_on(self._copy, self._original)


def _pass_on(source: Any, target: Any) -> None:
    tensors = zip(_tensors(source), _tensors(target), strict=True)
    with torch.no_grad():
        for new, old in tensors:
            old.copy_(new)
    if extra := extra_states([source]):
        set_extra_states([target], copy.deepcopy(extra))
    generator = getattr(source, "generator", None)
    if isinstance(generator, torch.Generator):
        target.generator.set_state(generator.get_state())


def _tensors(component: Any) -> list[Tensor]:
    return [t for t in cast("nn.Module", component).state_dict().values() if isinstance(t, Tensor)]
