"""Component: what an engine asks of the modules that it trains.

A component computes and nothing else. Given the features and the target of a mini-batch it returns the features and
the target to hand on, detached, and its local losses. It names its parameter groups. The engine owns everything else:
optimizers, rates, buffers and order. No engine knows Associated Learning; any decoupled method whose components follow
this protocol can be trained by every engine.

Shapes: ``B`` instances in a mini-batch. Features are a tensor ``[B, …]``. A target is a tensor or a named tuple of
tensors; engines hand it on without looking inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

Target = Any
"""A tensor or a (named) tuple of tensors and None: what a component is asked to fit. Only components look inside."""


def map_target(function: Callable[..., Tensor], *targets: Target) -> Target:
    """Return a target of the same form with `function` applied to the tensors that stand in the same place."""
    first = targets[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return function(*targets)
    if isinstance(first, tuple):
        parts = [map_target(function, *entries) for entries in zip(*targets, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)
    raise TypeError(f"a target is a tensor or a tuple of tensors, not {type(first).__name__}")


class Update(NamedTuple):
    """What one task computes, before the engine steps the optimizer."""

    features: Tensor
    """To hand on, detached, computed from the weights before this update."""
    target: Target
    """To hand on, detached, computed from the weights before this update."""
    losses: dict[str, Tensor]
    """Local losses by name, each a scalar with a graph to this component's parameters; their sum is minimised."""


def refuse_graph(update: Update) -> Update:
    """Return `update`; raise TypeError if what it hands on has a graph: gradients would cross from one to the next."""
    if update.features.requires_grad:
        raise TypeError("the component handed on features with a graph: detach them")
    if _has_graph(update.target):
        raise TypeError("the component handed on a target with a graph: detach it")
    return update


def _has_graph(target: Target) -> bool:
    if isinstance(target, Tensor):
        return target.requires_grad
    return isinstance(target, tuple) and any(map(_has_graph, target))


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that learn at the same rate."""

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    """Factor of the engine's base learning rate."""
    weight_decay: float = 1.0
    """Factor of the engine's weight decay; 0 for what is not to be drawn towards zero, such as a normalisation."""


@runtime_checkable
class Component(Protocol):
    """The protocol; every implementation is also an ``nn.Module``.

    Optional capability: ``stackable = True`` declares that `forward` keeps its meaning when features, target and the
    weights of its layers all get one leading dimension, one entry a component, and each loss comes back as ``[K]``.
    One component's code then runs for all, so the forward pass may not draw random numbers, keep anything in its
    attributes from one call to the next, or use buffers; components whose attributes differ are not stacked together.
    Engines that stack components check it, and the layers too.

    Randomness: a component that draws random numbers, for dropout say, has a ``torch.Generator`` of its own, on the
    device where it computes, as the attribute `generator`, and draws from nothing else. Engines save and load its state
    with the run, and bring it to where the component is trained. ``nn.Dropout`` and whatever else draws from torch's
    global generator get other numbers where components run at once, in an order that nothing fixes: such a run ends
    elsewhere than a serial one, and cannot be repeated.
    """

    def __call__(self, features: Tensor, target: Target) -> Update:
        """Return what to hand on and the local losses."""
        ...

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return all parameters of the component, in groups of equal rate."""
        ...

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return all parameters (``nn.Module`` has it)."""
        ...


class ComponentNetwork(Protocol):
    """A network that engines can train: components, applied one after the other.

    Not for ``isinstance``, which from Python 3.12 on does not find what an ``nn.Module`` keeps beside its attributes.
    """

    @property
    def components(self) -> Sequence[Any]:
        """The components, the one next to the input first."""
        ...

    def first_target(self, labels: Tensor, *, dtype: Any, distinct_targets: Any) -> Target:
        """Return the target of component 0 for the labels of a mini-batch.

        `labels`: ``[B]`` int64. `distinct_targets` is the engine's keyword, passed on; a network to which it means
        nothing ignores it.
        """
        ...
