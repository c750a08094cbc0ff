"""Stackability: which components may share a stack, and whether they keep their promise `stackable`.

A stack runs one component's code with everybody's weights. That is right only where nothing else tells the components
apart, so whatever a stack would get wrong is refused, in words, rather than trained wrongly:

* *before* an engine is made, what can be read off a component: `refusal` says what has no stacked form, and
  `shape_signature` what neighbours must have in common, numbers and strings in their attributes included;
* *at the first stacked pass*, what only running it can tell (`on_trial`): that it fails where the component alone does
  not, that it draws random numbers or that it changes attributes;
* *at every pass*, that what comes back has one entry a component (`check_update`);
* *between two fits*, that all of this is still so: the signature is compared again.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from albench.component import Target, Update, map_target, refuse_graph
from albench.engines.state import named_parameters
from albench.errors import UsageError

ROW_BY_ROW = (nn.ELU, nn.Sigmoid, nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Softplus, nn.Identity)
"""Layers without weights that treat every number, or every row, alike: a leading dimension changes nothing."""

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device})
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Layer(NamedTuple):
    """What must agree of one module of a component, its children apart."""

    kind: type
    attributes: dict[str, Any]
    """By name, see `attributes`."""
    parameters: dict[str, Any]
    """Shape, type, place, whether it is trained and whether it has hooks."""
    buffers: tuple[str, ...]
    hooked: bool


class Signature(NamedTuple):
    """What must agree for two components to share a stack."""

    layers: dict[str, Layer]
    groups: tuple[Any, ...]
    """Rate and names of the parameters of each group."""


def shape_signature(component: Any) -> Signature:
    """Return what must agree for two components to share a stack: layers, shapes, attributes, what is trained and how.

    Attributes are those of every module, but for `training` and names with a leading underscore.
    """
    layers: dict[str, Layer] = {}
    names: dict[int, str] = {}
    # With duplicates: of two activations, which one stands where matters too.
    for name, module in cast("nn.Module", component).named_modules(remove_duplicate=False):
        parameters: dict[str, Any] = {}
        for key, p in module._parameters.items():
            parameters[key] = p if p is None else (p.shape, p.dtype, p.device, p.requires_grad, _has_hooks(p))
            names.setdefault(id(p), f"{name}.{key}")
        layers[name] = Layer(type(module), attributes(module), parameters, (*module._buffers,), _is_hooked(module))
    groups = tuple((g.rate, *(names.get(id(p)) for p in g.parameters)) for g in component.parameter_groups())
    return Signature(layers, groups)


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of one module by name, in a form that can be compared.

    Numbers, strings and tuples, lists and dictionaries of them by type and value, all else by identity. Generators
    count as equal: which numbers a component draws is no matter, because one that draws any is not stacked.
    """
    return {k: _comparable(v) for k, v in vars(module).items() if k[0] != "_" and k != "training"}


def _comparable(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if isinstance(value, tuple | list):
        return kind, *map(_comparable, value)
    if isinstance(value, dict):
        return kind, {key: _comparable(entry) for key, entry in value.items()}
    return kind if isinstance(value, torch.Generator) else (kind, id(value))


def _is_hooked(module: nn.Module) -> bool:
    own = vars(module)
    return any(own[hooks] for hooks in _HOOKS)


def _has_hooks(parameter: Tensor) -> bool:
    return any(getattr(parameter, hooks, None) for hooks in _PARAMETER_HOOKS)


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
    return "" if one.groups == other.groups else "their parameter groups or rates"


def refusal(component: Any) -> str:
    """Return why a component cannot be stacked; empty if it can."""
    if not getattr(component, "stackable", False):
        return f"{type(component).__name__} does not declare `stackable = True`"
    trained = {id(parameter) for group in component.parameter_groups() for parameter in group.parameters}
    parameters = named_parameters(component)
    for name, parameter in parameters.items():
        if not parameter.requires_grad or id(parameter) not in trained:
            return f"its parameter {name} is not trained, and a stack trains all"
    for name, layer in cast("nn.Module", component).named_modules():
        reason = _layer_refusal(f"its layer {name}" if name else f"{type(component).__name__} itself", layer)
        if reason:
            return reason
    seen: dict[int, str] = {}
    for name, parameter in cast("nn.Module", component).named_parameters(remove_duplicate=False):
        first = seen.setdefault(id(parameter), name)
        if first != name:
            return f"its parameter {first} is used again as {name}, and a stack gives each layer weights of its own"
        if _has_hooks(parameter):
            return f"its parameter {name} has hooks, which a stack would not call"
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
    if _is_hooked(layer):
        return f"{name} has hooks, which are not written for a stack"
    if "forward" in vars(layer):
        return f"{name} has had its forward pass replaced, and a stack would not see the new one"
    for key, buffer in layer._buffers.items():
        if buffer is not None:
            return f"{name} has a buffer {key}, and a stack would use one component's for all"
    for key, value in vars(layer).items():
        if isinstance(value, Tensor) and key[0] != "_":
            return f"{name} has a tensor {key}, and a stack would use one component's for all"
    return ""


def has_written_pass(component: type) -> bool:
    """Whether `explicit_update` is the reverse pass of `forward`: both defined by the same class.

    A subclass that overrides one of them says nothing about the other, and is left to autograd.
    """
    owners = [next((c for c in component.__mro__ if name in vars(c)), None) for name in ("explicit_update", "forward")]
    return owners[0] is not None and owners[0] is owners[1]


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


@contextlib.contextmanager
def on_trial(component: Any, twin: nn.Module, name: str, features: Tensor, target: Target) -> Iterator[None]:
    """Watch the first stacked pass of `twin`, which is made of `component` and takes features ``[1, B, …]``.

    Raises `UsageError` if the pass fails where the component alone does not, draws random numbers, or changes
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

    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        put_back()
        fails_alone = _fails(component, features[0], map_target(lambda t: t[0], target))
        put_back()
        if fails_alone:
            raise
        shape = list(features.shape)
        raise _broken(
            name,
            f"its forward pass takes features {shape[1:]} and fails on a stack of them, {shape} "
            f"({type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else 'no message'}), where "
            "each loss must come back as [K]",
        ) from error
    if put_back():
        raise _broken(name, "its forward pass draws random numbers, which would be one component's for all")
    for module, was in zip(twin.modules(), attributes_before, strict=True):
        now = attributes(module)
        changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
        if changed:
            raise _broken(name, f"its forward pass changes its attribute `{changed[0]}`, which would be lost")


def _fails(component: Any, features: Tensor, target: Target) -> bool:
    """Whether a component alone fails on a mini-batch too; nothing is trained."""
    try:
        with torch.enable_grad():
            update = refuse_graph(component(features, target))
            total = functools.reduce(operator.add, update.losses.values())
            torch.autograd.grad(total, list(component.parameters()), allow_unused=True)
    except Exception:
        return True
    return False
