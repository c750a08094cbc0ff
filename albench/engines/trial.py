"""Trial: whether components keep their promise `stackable`, as far as only running them can tell.

* *At the first stacked pass*, which is of one component and so comparable with the component alone (`on_trial`): that
  it finds the same, and does not fail where the component alone does not; that it draws no random numbers and changes
  no attributes, which would be one component's for all.
* *At the first pass of so many components*, that what comes back has one entry a component (`check_update`).

Later passes are of the same code on the same shapes, and cost nothing but what they compute.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from albench.component import Target, Update, map_target, refuse_graph
from albench.engines.slots import tensors_of
from albench.engines.traits import attributes
from albench.errors import UsageError, first_line


def check_update(update: Update, count: int, name: str) -> None:
    """Raise `UsageError` unless losses are ``[count]`` and what is handed on has `count` entries.

    `name`: of the component, for the message.
    """

    def check(tensor: Tensor, what: str) -> Tensor:
        if tensor.shape[:1] != (count,):
            raise _broken(name, f"{what} has shape {list(tensor.shape)} and must have [K, …] (here K = {count})")
        return tensor

    for loss, value in update.losses.items():
        if value.shape != (count,):
            shape = list(value.shape)
            raise _broken(
                name, f"loss {loss!r} has shape {shape} and must have [K], one a component (here K = {count})"
            )
    check(update.features, "what it hands on as features")
    map_target(lambda tensor: check(tensor, "a tensor that it hands on in the target"), update.target)


def check_gradients(found: Sequence[Tensor | None], parameters: Sequence[str], name: str) -> list[Tensor]:
    """Return the gradients found; raise `UsageError` if a parameter has none. `name`: of the component."""
    gradients = [gradient for gradient in found if gradient is not None]
    if len(gradients) < len(found):
        unused = next(p for p, gradient in zip(parameters, found, strict=True) if gradient is None)
        raise UsageError(
            f"{name} has a parameter {unused} that its losses do not depend on, and a stack trains all: "
            "leave it out, or use engine 'serial' or 'threads'"
        )
    return gradients


def _broken(name: str, how: str) -> UsageError:
    return UsageError(f"{name} does not keep its promise `stackable`: {how}; without it, engine 'threads' trains it")


Derived = tuple[Update, list[Tensor]]
"""What a stacked pass finds: the update and the gradients."""


def on_trial(
    derive: Callable[[], Derived], component: Any, twin: nn.Module, name: str, features: Tensor, target: Target
) -> Derived:
    """Return what `derive` returns, the first stacked pass of `twin`, having compared it with `component` alone.

    `twin` is made of `component`; features ``[1, B, …]`` and target are what `derive` passes to it. Raises `UsageError`
    if the pass fails where the component alone does not, finds something else, draws random numbers or changes
    attributes. What both fail on is raised as it is. Generators are put back when a pass is refused.
    """
    generators = {g for m in component.modules() for g in vars(m).values() if isinstance(g, torch.Generator)}
    generators.add(torch.default_generator)
    if features.is_cuda:
        generators.add(torch.cuda.default_generators[features.get_device()])
    before = {generator: generator.get_state() for generator in generators}
    attributes_before = [attributes(module) for module in twin.modules()]

    def put_back() -> bool:
        moved = [g for g, state in before.items() if not torch.equal(g.get_state(), state)]
        for generator in moved:
            generator.set_state(before[generator])
        return bool(moved)

    def alone() -> Update:
        with torch.enable_grad():
            update = refuse_graph(component(features[0], map_target(lambda t: t[0], target)))
            total = functools.reduce(operator.add, update.losses.values())
            torch.autograd.grad(total, list(component.parameters()), allow_unused=True)
        put_back()
        return update

    try:
        derived = derive()
    except UsageError:
        raise
    except Exception as error:
        put_back()
        try:
            alone()
        except Exception:
            put_back()
            raise error from None
        shape = list(features.shape)
        raise _broken(
            name,
            f"its forward pass takes features {shape[1:]} and fails on a stack of them, {shape} "
            f"({type(error).__name__}: {first_line(error) or 'no message'}), where "
            "each loss must come back as [K]",
        ) from error
    if put_back():
        raise _broken(name, "its forward pass draws random numbers, which would be one component's for all")
    for module, was in zip(twin.modules(), attributes_before, strict=True):
        now = attributes(module)
        changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
        if changed:
            raise _broken(name, f"its forward pass changes its attribute `{changed[0]}`, which would be lost")
    if other := _other(derived[0], alone()):
        raise _broken(
            name,
            f"{other} is another in a stack of one than of the component alone: count dimensions from the last one "
            "(-1), because a stack adds one in front",
        )
    return derived


def _other(stacked: Update, alone: Update) -> str:
    """Return what differs by more than rounding between a stack of one and its component; empty if nothing does."""
    if stacked.losses.keys() != alone.losses.keys():
        return "the set of losses"
    for loss, value in stacked.losses.items():
        if not _agree(value, alone.losses[loss]):
            return f"loss {loss!r}"
    if not _agree(stacked.features, alone.features):
        return "what it hands on as features"
    pairs = zip(tensors_of(stacked.features, stacked.target), tensors_of(alone.features, alone.target), strict=True)
    return "" if all(_agree(one, other) for one, other in pairs) else "the target that it hands on"


def _agree(stacked: Tensor, alone: Tensor) -> bool:
    """Whether ``[1, …]`` and ``[…]`` are equal up to rounding.

    Half the digits must agree, of numbers below 1 those behind the point: a loss that has all but vanished is the
    difference of two numbers near 1, and rounding is all that is left of it.
    """
    one, alone = stacked[0].detach(), alone.detach()
    if one.shape != alone.shape or one.dtype != alone.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, alone)
    tolerance = math.sqrt(torch.finfo(one.dtype).eps)
    apart = torch.linalg.vector_norm(one - alone)
    return bool(apart <= tolerance * (torch.linalg.vector_norm(alone) + math.sqrt(alone.numel()))) or not bool(
        torch.isfinite(alone).all()
    )
