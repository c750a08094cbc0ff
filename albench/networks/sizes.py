"""Sizes of networks, checked before anything is built."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from albench.errors import UsageError


def check_sizes(**sizes: Any) -> None:
    """Refuse, as a `UsageError` that names it, a size below one and what is no whole number."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < 1:
            raise UsageError(f"{name} is {size!r}: give a whole number of at least 1")


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape of one instance as a tuple of plain numbers; `UsageError` if it is none."""
    sizes = shape if isinstance(shape, Sequence) else ()
    if not sizes or not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        raise UsageError(f"{name} is {shape!r}: give the sizes of one instance, as (64,) or (3, 32, 32)")
    return tuple(int(size) for size in sizes)


def check_image_shape(shape: Any, *, network: str) -> tuple[int, int, int]:
    """Return (channels, height, width) of one image; `UsageError` if the shape is not one of images."""
    sizes = check_shape("input_shape", shape)
    if len(sizes) != 3:
        raise UsageError(f"input_shape is {sizes}: {network} takes images, give (channels, height, width)")
    return sizes
