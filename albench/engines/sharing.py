"""Sharing: tensors that two components, or two layers, have in common.

A task reads and writes the tensors of its component and no others; that is why tasks of different components may run
at once and still end where the serial order ends. Where two components have a tensor in common it does not hold, so
whoever leaves the serial order refuses them. Parameters that are two objects on the same memory, as after
``a.data = b.data``, are as much in common as one object that stands in two places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from albench.errors import UsageError


def memory_of(tensor: Tensor) -> tuple[object, ...]:
    """Return what two tensors have in common if one is the other, or begins where the other does."""
    address = tensor.data_ptr()
    return (tensor.device, address) if address else (id(tensor),)


def refuse_shared_tensors(components: Sequence[Any]) -> None:
    """Raise `UsageError` if two components share a parameter or a buffer: one's task would change the other's."""
    owners: dict[tuple[object, ...], tuple[int, str]] = {}
    for i, component in enumerate(components):
        for kind, name, tensor in _tensors(component):
            owner, first_name = owners.setdefault(memory_of(tensor), (i, name))
            if owner != i:
                raise UsageError(
                    f"components {owner} and {i} share a {kind} ({first_name} of the one is {name} of the other), so "
                    "their tasks cannot run at once: give each its own, or use engine 'serial'"
                )


def _tensors(component: Any) -> Iterator[tuple[str, str, Tensor]]:
    """Yield kind, name and tensor."""
    if not isinstance(component, nn.Module):  # a component need not be more than the protocol asks for
        yield from (("parameter", f"number {j}", p) for j, p in enumerate(component.parameters()))
        return
    yield from (("parameter", name, p) for name, p in component.named_parameters())
    yield from (("buffer", name, b) for name, b in component.named_buffers())
