"""Stackability: which components may share a stack, and whether they keep their promise `stackable`.

A stack runs one component's code with everybody's weights. That is right only where nothing else tells the components
apart, so whatever a stack would get wrong is refused, in words, rather than trained wrongly:

* *before* an engine is made, what can be read off a component: `refusal` says what has no stacked form, and
  `shape_signature` what neighbours must have in common, numbers and strings in their attributes included;
* *at the first passes*, what only running it can tell (`albench.engines.trial`);
* *between two fits*, that layers and attributes are what they were (`layers_of`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from albench.engines.sharing import memory_of
from albench.engines.state import named_parameters
from albench.engines.traits import EVERY_MODULE, attributes, hooks, parameter_hooks

ROW_BY_ROW = (nn.ELU, nn.Sigmoid, nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Softplus, nn.Identity)
"""Layers without weights that treat every number, or every row, alike: a leading dimension changes nothing."""


class Layer(NamedTuple):
    """What must agree of one module of a component, its children apart."""

    kind: type
    attributes: dict[str, Any]
    """By name, see `attributes`; `training` too, where it may make a difference."""
    parameters: dict[str, Any]
    """Shape, type, place, whether it is trained and whether it has hooks."""
    buffers: tuple[str, ...]
    hooked: bool


class Signature(NamedTuple):
    """What must agree for two components to share a stack."""

    layers: dict[str, Layer]
    groups: tuple[Any, ...]
    """Rate, weight decay and names of the parameters of each group."""


def shape_signature(component: Any) -> Signature:
    """Return what must agree for two components to share a stack: layers, attributes, what is trained and how."""
    names = {id(parameter): name for name, parameter in named_parameters(component).items()}
    groups = tuple(
        (g.rate, g.weight_decay, *(names.get(id(p)) for p in g.parameters)) for g in component.parameter_groups()
    )
    return Signature(layers_of(component), groups)


def layers_of(component: Any) -> dict[str, Layer]:
    """Return what must agree of each module of a component, by the name of the module."""
    layers: dict[str, Layer] = {}
    # With duplicates: of two activations, which one stands where matters too.
    for name, module in cast("nn.Module", component).named_modules(remove_duplicate=False):
        parameters: dict[str, Any] = {}
        for key, p in module._parameters.items():
            parameters[key] = (
                p if p is None else (p.shape, p.dtype, p.device, p.requires_grad, bool(parameter_hooks(p)))
            )
        kind, found = type(module), attributes(module)
        # A forward pass of the user's own may ask for it.
        if not (kind.__module__.startswith("torch.nn.") or has_written_pass(kind)):
            found["training"] = module.training
        layers[name] = Layer(kind, found, parameters, (*module._buffers,), bool(hooks(module)))
    return layers


def difference(one: Signature, other: Signature) -> str:
    """Return in what two signatures differ, in words; empty if they do not."""
    if one.layers.keys() != other.layers.keys():
        return "their layers"
    for name, layer in one.layers.items():
        second = other.layers[name]
        where = f"layer {name}" if name else "the component itself"
        if layer.kind is not second.kind:
            return f"the kind of {where}"
        for key in {**layer.attributes, **second.attributes}:
            if layer.attributes.get(key) != second.attributes.get(key):
                return f"the attribute `{key}` of {where}"
        if layer.parameters != second.parameters:
            return f"the parameters of {where} (shape, type, hooks, or whether they are trained)"
        if layer[3:] != second[3:]:
            return f"the buffers or hooks of {where}"
    return "" if one.groups == other.groups else "their parameter groups, rates or weight decay"


def refusal(component: Any) -> str:
    """Return why a component cannot be stacked; empty if it can."""
    if not getattr(component, "stackable", False):
        return f"{type(component).__name__} does not declare `stackable = True`"
    groups = [[id(parameter) for parameter in group.parameters] for group in component.parameter_groups()]
    trained = {parameter for group in groups for parameter in group}
    parameters = named_parameters(component)
    for name, parameter in parameters.items():
        if not parameter.requires_grad or id(parameter) not in trained:
            return f"its parameter {name} is not trained, and a stack trains all"
    for name, layer in cast("nn.Module", component).named_modules():
        reason = _layer_refusal(f"its layer {name}" if name else f"{type(component).__name__} itself", layer)
        if reason:
            return reason
    seen: dict[tuple[object, ...], str] = {}
    for name, parameter in cast("nn.Module", component).named_parameters(remove_duplicate=False):
        first = seen.setdefault(memory_of(parameter), name)
        if first != name:
            return f"its parameter {first} is used again as {name}, and a stack gives each layer weights of its own"
        if parameter_hooks(parameter):
            return f"its parameter {name} has hooks, which a stack would not call"
    if not all(groups) or sum(map(len, groups)) > len(trained):
        return "one of its parameter groups is empty, or two have a parameter in common"
    if not trained <= {id(parameter) for parameter in parameters.values()}:
        return "its parameter groups have a parameter that is not its own, and a stack trains each component's own"
    if len({(parameter.dtype, parameter.device) for parameter in parameters.values()}) > 1:
        return "its parameters are of several types or in several places, and a stack has one"
    return "" if parameters else "it has no parameters, and a stack is made of them"


def _layer_refusal(name: str, layer: nn.Module) -> str:
    """Return why one module of a component, its children apart, has no stacked form; empty if it has one."""
    kind = type(layer)
    own = set(layer._parameters)
    if parametrize.is_parametrized(layer):
        return f"{name} is {kind.__name__}: a parametrized weight is computed anew, which has no stacked form"
    # Exactly these types: what a subclass computes is its own affair.
    if kind is nn.Linear:
        if own != {"weight", "bias"}:
            found = ", ".join(sorted(own))
            return f"{name} is Linear with parameters {found} in place of weight and bias, which has no stacked form"
        if layer.bias is None:
            return f"{name} is Linear without bias, which has no stacked form"
    else:
        flattening = kind is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1
        known = kind in ROW_BY_ROW or flattening or bool(list(layer.children()))
        if not known:
            return f"{name} is {kind.__name__}, which has no stacked form"
        if own:
            return f"{name} is {kind.__name__} with a parameter {min(own)} of its own, which has no stacked form"
    if hooks(layer):
        return f"{name} has hooks, which are not written for a stack"
    if "forward" in vars(layer):
        return f"{name} has had its forward pass replaced, and a stack would not see the new one"
    for key, buffer in layer._buffers.items():
        if buffer is not None:
            return f"{name} has a buffer {key}, and a stack would use one component's for all"
    for key, value in vars(layer).items():
        if isinstance(value, Tensor) and key not in EVERY_MODULE:
            return f"{name} has a tensor {key}, and a stack would use one component's for all"
    return ""


def has_written_pass(component: type) -> bool:
    """Whether `explicit_update` is the reverse pass of `forward`: both defined by the same class.

    A subclass that overrides one of them says nothing about the other, and is left to autograd.
    """
    owners = [next((c for c in component.__mro__ if name in vars(c)), None) for name in ("explicit_update", "forward")]
    return owners[0] is not None and owners[0] is owners[1]
