"""Traits: what tells two modules of one class apart besides parameters and buffers.

Who computes with something made from a module, a stack of several or a recording of one, computes with these as they
were then. So they are compared: one with another's, or with what they were.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

EVERY_MODULE = frozenset(vars(nn.Module()))
"""Attributes that torch gives every module; what else there is its author gave it."""

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device})


class Itself:
    """An object that equals nothing but itself. It is held, so that no other can come to lie where it was."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of one module by name, in a form that can be compared.

    Numbers, strings and tuples, lists and dictionaries of them by type and value, all else by identity. Generators
    count as equal: what differs is only which numbers they draw.
    """
    return {key: _comparable(value) for key, value in vars(module).items() if key not in EVERY_MODULE}


def _comparable(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if isinstance(value, tuple | list):
        return kind, *map(_comparable, value)
    if isinstance(value, dict):
        return kind, {key: _comparable(entry) for key, entry in value.items()}
    return kind if isinstance(value, torch.Generator) else Itself(value)


def hooks(module: nn.Module) -> tuple[int, ...]:
    """Return the numbers that torch gave the hooks of one module's passes; it gives none twice."""
    own = vars(module)
    return (
        *own["_forward_hooks"],
        *own["_forward_pre_hooks"],
        *own["_backward_hooks"],
        *own["_backward_pre_hooks"],
    )


def parameter_hooks(parameter: Tensor) -> tuple[int, ...]:
    """Return the numbers that torch gave the hooks of a parameter's gradient."""
    return (
        *(parameter._backward_hooks or ()),
        *(getattr(parameter, "_post_accumulate_grad_hooks", None) or ()),
    )
