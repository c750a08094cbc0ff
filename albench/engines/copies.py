"""Copies: what two copies of a network must have in common to train alike, in another process or on another device.

Weights, buffers and generators are values, and are brought over (`albench.engines.exchange`). What decides how they are
used is not among them: whether a module is in training mode, and which parameters are frozen. A user changes both
between two runs, in one copy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from albench.errors import UsageError


class Modes(NamedTuple):
    """How modules and parameters are used: a digit each, 1 for yes."""

    training: str
    """``module.training`` of every module of every component."""
    requires_grad: str
    """``parameter.requires_grad`` of every parameter."""


def modes_of(components: Iterable[nn.Module]) -> Modes:
    """Return how the components are used."""
    components = list(components)
    return Modes(
        "".join(str(int(module.training)) for c in components for module in c.modules()),
        "".join(str(int(parameter.requires_grad)) for c in components for parameter in c.parameters()),
    )


def set_modes(components: Iterable[nn.Module], modes: Modes) -> None:
    """Use the components as `modes_of` found a copy of them used."""
    components = list(components)
    modules = [module for c in components for module in c.modules()]
    parameters = [parameter for c in components for parameter in c.parameters()]
    for module, training in zip(modules, modes.training, strict=True):
        module.training = training == "1"
    for parameter, requires_grad in zip(parameters, modes.requires_grad, strict=True):
        parameter.requires_grad_(requires_grad == "1")


def extra_states(components: Iterable[nn.Module]) -> list[Any]:
    """Return what the modules have to save besides tensors, module by module; most have nothing."""
    return [module.get_extra_state() for module in _with_extra_state(components)]


def set_extra_states(components: Iterable[nn.Module], states: Sequence[Any]) -> None:
    """Give the modules what `extra_states` found in a copy of them."""
    for module, state in zip(_with_extra_state(components), states, strict=True):
        module.set_extra_state(state)


def _with_extra_state(components: Iterable[nn.Module]) -> list[nn.Module]:
    modules = [module for component in components for module in component.modules()]
    return [module for module in modules if type(module).get_extra_state is not nn.Module.get_extra_state]


Description = list[list[Any]]
"""For each component the shape, type and strides of every parameter, the shape and type of every buffer, the classes of
its modules and the kind of its generator; JSON can say it."""


def description_of(components: Iterable[nn.Module]) -> Description:
    """Return what must be the same in all copies, and stay so while they are trained together."""
    return [
        [
            [[*p.shape, str(p.dtype), *p.stride()] for p in c.parameters()],
            [[*b.shape, str(b.dtype)] for b in c.buffers()],
            [type(module).__qualname__ for module in c.modules()],
            _generator_kind(c),
        ]
        for c in components
    ]


def _generator_kind(component: nn.Module) -> str:
    """Return what kind of state a component's generator has; empty if there is no generator."""
    generator = getattr(component, "generator", None)
    return str(generator.device.type) if isinstance(generator, torch.Generator) else ""


def devices_of(components: Iterable[nn.Module]) -> list[str]:
    """Return where each component is."""
    return [str(parameter.device) for c in components for parameter in c.parameters()]


class Unchanged:
    """Watches that a network stays the one that its engine was made for: the other copies would not follow."""

    def __init__(self, components: Sequence[nn.Module]) -> None:
        self._components = components
        self.description = description_of(components)
        self._devices = devices_of(components)

    def check(self) -> None:
        """Raise `UsageError` if components are not what they were when the engine was made, or not where they were."""
        now = description_of(self._components)
        changed = [i for i, (new, old) in enumerate(zip(now, self.description, strict=True)) if new != old]
        if changed:
            raise UsageError(
                f"component {changed[0]} has other shapes, strides, types or modules than when its engine was made, or "
                "another kind of generator: "
                "move or change a network before its engine is made"
            )
        if devices_of(self._components) != self._devices:
            raise UsageError(
                f"the network was on {self._devices[0]} when its engine was made: "
                "move a network before its engine is made"
            )
