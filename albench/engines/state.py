"""The state of an engine as plain data: what a run needs to go on as if it had never stopped.

Every engine writes and reads the same format, component by component and parameter by parameter, so a run that one
engine began another can finish. Only tensors, numbers and strings, unless a module's ``get_extra_state`` has others:
``torch.load(..., weights_only=True)`` reads it.

    {"format": "albench-engine", "version": 1, "minibatches": k,
     "components": [{"weights": {name: tensor, or a module's extra state},
                     "optimizer": {name: {"step": …, "exp_avg": …, "exp_avg_sq": …}},
                     "generator": uint8 tensor or None}, …]}
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, TypeGuard, cast

import torch
from torch import Tensor, nn

from albench.errors import UsageError

FORMAT = "albench-engine"
VERSION = 1
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps for each parameter: updates made, mean and mean square of the gradient."""

Moments = dict[str, dict[str, Tensor]]
"""Adam's state by parameter name."""


class ComponentState(TypedDict):
    """State of one component."""

    weights: dict[str, Any]
    """Tensors, but for what a module's ``get_extra_state`` returns."""
    optimizer: Moments
    generator: Tensor | None


class EngineState(TypedDict):
    """State of a whole run."""

    format: str
    version: int
    minibatches: int
    components: list[ComponentState]


def named_parameters(component: object) -> dict[str, nn.Parameter]:
    """Return the parameters of a component by name."""
    return dict(cast("nn.Module", component).named_parameters())


def component_state(component: object, moments: Moments) -> ComponentState:
    """Return a snapshot of one component: nothing in it changes when training goes on."""
    generator = getattr(component, "generator", None)
    return {
        "weights": {name: _copy(value) for name, value in cast("nn.Module", component).state_dict().items()},
        "optimizer": moments,
        "generator": generator.get_state() if isinstance(generator, torch.Generator) else None,
    }


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)


def load_component(component: object, state: ComponentState) -> None:
    """Put weights and generator of a snapshot into a component."""
    # Tensors are copied where they go; what else there is would be the snapshot's own.
    weights = {n: v if isinstance(v, Tensor) else copy.deepcopy(v) for n, v in state["weights"].items()}
    cast("nn.Module", component).load_state_dict(weights)
    generator = getattr(component, "generator", None)
    if isinstance(generator, torch.Generator) and state["generator"] is not None:
        generator.set_state(state["generator"].cpu())  # a file read with map_location has it on the device


def check_state(state: Any, components: list[object]) -> EngineState:
    """Return `state` if it fits the components, else raise `UsageError`: a half-loaded state is worse than none."""
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UsageError("the state is not one of an albench engine: give what state_dict() returned")
    if state.get("version") != VERSION:
        raise UsageError(f"the state has version {state.get('version')}, this albench reads version {VERSION}")
    if not isinstance(state.get("components"), list) or not isinstance(state.get("minibatches"), int):
        raise UsageError("the state is not whole: give what state_dict() returned, unchanged")
    if len(state["components"]) != len(components):
        raise UsageError(
            f"the state has {len(state['components'])} components, the network {len(components)}: "
            "build the network as it was saved"
        )
    for i, (saved, component) in enumerate(zip(state["components"], components, strict=True)):
        if not isinstance(saved, dict) or not ComponentState.__required_keys__ <= saved.keys():
            raise UsageError(f"component {i} of the state is not whole: give what state_dict() returned, unchanged")
        if not weights_fit(saved["weights"], cast("nn.Module", component)):
            raise UsageError(f"component {i} of the state has other parameters or shapes than the network's")
        if not moments_fit(saved["optimizer"], named_parameters(component)):
            raise UsageError(f"the optimizer's state of component {i} does not fit the network's parameters")
        if not _generator_fits(saved["generator"], component):
            raise UsageError(f"the generator's state of component {i} does not fit the network's component")
    return cast("EngineState", state)


def weights_fit(weights: Any, module: nn.Module) -> bool:
    """Whether these are the weights and buffers of this module, by name and shape."""
    have = module.state_dict()
    if not isinstance(weights, Mapping) or have.keys() != weights.keys():
        return False
    return all(_shape(have[name]) == _shape(weights[name]) for name in have)


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor; what else a module saves is its own affair."""
    return tuple(value.shape) if isinstance(value, Tensor) else None


def moments_fit(
    moments: Any, parameters: Mapping[str, nn.Parameter], names: Sequence[str] = MOMENTS
) -> TypeGuard[Moments]:
    """Whether these moments, of these names, are of these parameters; one that was never updated has none."""
    if not isinstance(moments, Mapping):
        return False
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    return all(
        name in shapes
        and isinstance(saved, Mapping)
        and set(saved) == set(names)
        and all(_shape(saved[moment]) == (() if moment == "step" else shapes[name]) for moment in names)
        for name, saved in moments.items()
    )


def moments_of(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> Moments:
    """Return a copy of Adam's state by parameter name; nothing for parameters that were never updated."""
    state = optimizer.state
    return {
        name: {moment: state[parameter][moment].clone() for moment in MOMENTS}
        for name, parameter in parameters.items()
        if parameter in state and state[parameter]["step"] > 0
    }


def load_moments(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], moments: Moments) -> None:
    """Take Adam's state by parameter name; what is there already is filled in place, for recordings hold addresses."""
    state = optimizer.state
    for name, parameter in parameters.items():
        saved = moments.get(name)
        own = state.get(parameter)
        if own and (own["exp_avg"].device, own["exp_avg"].dtype) != (parameter.device, parameter.dtype):
            del state[parameter]  # the network has moved since
            own = None
        if own:
            for moment in MOMENTS:
                # Where nothing was saved Adam starts afresh, which is from zeros.
                own[moment].copy_(saved[moment] if saved else torch.zeros(()))
        elif saved:
            state[parameter] = {
                moment: saved[moment].to(
                    device=parameter.device, dtype=torch.float32 if moment == "step" else parameter.dtype, copy=True
                )
                for moment in MOMENTS
            }


def _generator_fits(saved: Any, component: object) -> bool:
    """Whether a component's randomness can go on from here: both have a generator, of one kind, or neither has."""
    generator = getattr(component, "generator", None)
    if not isinstance(generator, torch.Generator) or saved is None:
        return (saved is None) == (not isinstance(generator, torch.Generator))
    return isinstance(saved, Tensor) and saved.dtype == torch.uint8 and saved.shape == generator.get_state().shape
