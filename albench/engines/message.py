"""Message: what one lane hands to the next, as bytes that another process can read.

    │ mini-batch k │ base rate │ bytes of layout │ layout, as JSON │ features │ target's tensors │

The layout, which is shapes, strides and types, is the same from one mini-batch to the next until a shape changes, so it
is made and read once and looked up afterwards. A tensor's bytes are its memory as it lies there: the other side gets
the same strides, and so the same kernels (`albench.engines.layout`). The rate travels with the mini-batch: a rate that
is a function of k is called by one process only, and need not be known to the others. Nothing is unpickled: a reader
makes tensors, tuples and named tuples, nothing else.
"""

from __future__ import annotations

import functools
import importlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from albench.component import Target, map_target
from albench.engines.layout import as_dense, in_storage_order

PREFIX = struct.Struct("<qdq")
"""k, base rate, bytes of the layout."""
END = -1
"""In place of k: nothing more comes in this call of ``fit``; the rate then holds the mini-batches seen."""


class Message(NamedTuple):
    """One mini-batch on its way."""

    minibatch: int
    rate: float
    """Base learning rate of this mini-batch."""
    features: Tensor
    target: Target


class Layout(NamedTuple):
    """Shapes, strides and types of the tensors of a message, features first, and the form of its target."""

    shapes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    form: Any
    """None, "tensor", or a list: the tuple's type, then the form of each entry."""

    def empty(self, device: torch.device) -> list[Tensor]:
        """Return tensors for a message to be read into."""
        return [
            torch.empty_strided(shape, strides, dtype=dtype, device=device)
            for shape, strides, dtype in zip(self.shapes, self.strides, self.dtypes, strict=True)
        ]


def describe(message: Message) -> tuple[Layout, list[Tensor]]:
    """Return the layout of a message and its tensors, which are dense."""
    tensors = [as_dense(message.features)]

    def note(tensor: Tensor) -> Tensor:
        tensors.append(as_dense(tensor))
        return tensor

    map_target(note, message.target)
    layout = Layout(
        tuple(tuple(t.shape) for t in tensors),
        tuple(t.stride() for t in tensors),
        tuple(t.dtype for t in tensors),
        _form(message.target),
    )
    return layout, tensors


def _form(target: Target) -> Any:
    if target is None:
        return None
    if isinstance(target, Tensor):
        return "tensor"
    kind = type(target)
    return (kind.__module__, kind.__qualname__, *map(_form, target))


def parts(message: Message) -> list[Tensor]:
    """Return a message as bytes: uint8 tensors ``[bytes]`` to be written one after the other."""
    layout, tensors = describe(message)
    return [head(message, layout), *(as_bytes(in_storage_order(tensor)) for tensor in tensors)]


def head(message: Message, layout: Layout) -> Tensor:
    """Return what comes before the tensors of a message, uint8 ``[bytes]``."""
    encoded = encode_layout(layout)
    return _from_bytes(PREFIX.pack(message.minibatch, message.rate, len(encoded)) + encoded)


def read_head(head: Tensor) -> tuple[int, float, Layout]:
    """Return mini-batch, rate and layout from what `head` returned."""
    data = head.numpy().tobytes()
    minibatch, rate, layout_bytes = PREFIX.unpack_from(data)
    return minibatch, rate, decode_layout(data[PREFIX.size : PREFIX.size + layout_bytes])


def end_parts(minibatches_seen: int) -> list[Tensor]:
    """Return the message that ends one call of ``fit``."""
    return [_from_bytes(PREFIX.pack(END, float(minibatches_seen), 0))]


def finished(body: Tensor) -> int | None:
    """Return the mini-batches seen if bytes are the message that ends a call of ``fit``, else None."""
    minibatch, seen, _ = PREFIX.unpack(body[: PREFIX.size].numpy().tobytes())
    return int(seen) if minibatch == END else None


def read(fill: Callable[[Tensor], object], device: torch.device) -> Message | int:
    """Return the next message, or the mini-batches seen if it is the end of a call of ``fit``.

    `fill` fills a uint8 tensor ``[bytes]`` with the bytes that come next.
    """

    def filled(count: int) -> bytes:
        part = torch.empty(count, dtype=torch.uint8)
        fill(part)
        return part.numpy().tobytes()

    minibatch, rate, layout_bytes = PREFIX.unpack(filled(PREFIX.size))
    if minibatch == END:
        return int(rate)
    layout = decode_layout(filled(layout_bytes))
    tensors = layout.empty(torch.device("cpu"))
    for tensor in tensors:
        fill(as_bytes(in_storage_order(tensor)))
    features, target = rebuild(layout, [tensor.to(device) for tensor in tensors])
    return Message(minibatch, rate, features, target)


@functools.lru_cache(maxsize=64)
def encode_layout(layout: Layout) -> bytes:
    """Return a layout as JSON."""
    dtypes = [str(dtype).removeprefix("torch.") for dtype in layout.dtypes]
    return json.dumps([layout.shapes, layout.strides, dtypes, layout.form]).encode()


@functools.lru_cache(maxsize=64)
def decode_layout(encoded: bytes) -> Layout:
    """Return the layout that `encode_layout` wrote."""
    shapes, strides, dtypes, form = json.loads(encoded)
    return Layout(_frozen(shapes), _frozen(strides), tuple(getattr(torch, dtype) for dtype in dtypes), _frozen(form))


def _frozen(form: Any) -> Any:
    return tuple(map(_frozen, form)) if isinstance(form, list) else form


def rebuild(layout: Layout, tensors: Sequence[Tensor]) -> tuple[Tensor, Target]:
    """Return features and target from the tensors of a message."""
    remaining = iter(tensors)
    return next(remaining), _built(layout.form, remaining)


def _built(form: Any, remaining: Iterator[Tensor]) -> Target:
    # Not within `rebuild`: a closure that calls itself is a cycle, and would keep the tensors until it is collected.
    if form is None:
        return None
    if form == "tensor":
        return next(remaining)
    module, name, *entries = form
    kind = _tuple_type(module, name)
    parts = [_built(entry, remaining) for entry in entries]
    return kind(*parts) if hasattr(kind, "_fields") else tuple(parts)


@functools.lru_cache(maxsize=64)
def _tuple_type(module: str, name: str) -> Any:
    """Return a tuple type by name; nothing else is looked up or called."""
    kind: Any = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    if not (isinstance(kind, type) and issubclass(kind, tuple)):
        raise TypeError(f"{module}.{name} is not a tuple type")
    return kind


def as_bytes(tensor: Tensor) -> Tensor:
    """Return a tensor's memory as uint8 ``[bytes]``; a copy if it is not contiguous or not on the CPU."""
    whole = tensor.detach().cpu().contiguous()
    # A tensor of one entry is contiguous whatever its strides say, which a view of another type does not accept.
    return whole.as_strided((whole.numel(),), (1,)).view(torch.uint8)


def _from_bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
