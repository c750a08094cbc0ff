"""Mini-batches as engines take them: checked where that costs next to nothing, refused in one line.

Shapes: x ``[B, …]`` floating point; y ``[B]`` int64 labels in [0, C), or ``[B, W]`` real-valued targets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from albench.errors import UsageError

Batch = tuple[Tensor, Tensor]

ALIGNMENT_BYTES = 256
"""Up to which cuBLAS looks at where a matrix begins when it chooses a kernel."""


def check_batch(batch: Batch, *, minibatch: int, classes: int | None, like: Tensor) -> Batch:
    """Return (x, y) of mini-batch number `minibatch`, or raise `UsageError` naming the value and the remedy.

    `like` is a parameter of the network: x must have its type and device. What is returned carries no graph. Values
    are looked at on the CPU only, where two reductions cost a few microseconds; on a device they would stall the
    pipeline.
    """
    try:
        x, y = batch
    except (TypeError, ValueError):
        raise UsageError(f"mini-batch {minibatch} is not a pair: give (x, y) with x [B, …] and y [B]") from None
    if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
        raise UsageError(
            f"mini-batch {minibatch} holds {type(x).__name__} and {type(y).__name__}: give tensors, "
            "torch.as_tensor() makes them"
        )
    if x.dim() < 2 or y.dim() < 1 or len(x) == 0 or len(x) != len(y):
        raise UsageError(
            f"mini-batch {minibatch} has x {list(x.shape)} and y {list(y.shape)}: give x [B, …] and y [B] with B ≥ 1"
        )
    if x.dtype != like.dtype or x.device != like.device:
        raise UsageError(
            f"mini-batch {minibatch} is {x.dtype} on {x.device}, the network {like.dtype} on {like.device}: "
            "convert one of them"
        )
    if y.device != x.device:
        raise UsageError(f"mini-batch {minibatch} has x on {x.device} and y on {y.device}: move one of them")
    _check_kind(y, minibatch, classes, x.dtype)
    if x.device.type == "cpu":
        _check_values(x, y, minibatch, classes)
    return x.detach(), y.detach()


def as_allocated(tensor: Tensor) -> Tensor:
    """Return `tensor` if it lies in memory as one fresh from the allocator would, else a copy that does.

    On a device a product of a matrix that begins at an odd address may be another kernel's, with other last bits. An
    engine that copies mini-batches into place would then part from one that takes them where they are.
    """
    if tensor.is_contiguous() and tensor.data_ptr() % ALIGNMENT_BYTES == 0:
        return tensor
    return tensor.clone()


def _check_kind(y: Tensor, minibatch: int, classes: int | None, dtype: torch.dtype) -> None:
    if y.is_floating_point():
        fits = y.dtype == dtype and y.dim() == 2 and (classes is None or y.shape[1] == classes)
    else:
        fits = y.dtype == torch.int64 and y.dim() == 1
    if not fits:
        width = "W" if classes is None else classes
        raise UsageError(
            f"mini-batch {minibatch} has labels {y.dtype} {list(y.shape)}: give int64 [B], "
            f"or real-valued targets {dtype} [B, {width}]"
        )


def _check_values(x: Tensor, y: Tensor, minibatch: int, classes: int | None) -> None:
    # A sum is finite unless a value is not, or unless large values overflow: only then is each value looked at.
    if not math.isfinite(x.sum().item()) and not bool(torch.isfinite(x).all()):
        bad = x[~torch.isfinite(x)][0].item()
        raise UsageError(f"mini-batch {minibatch} holds {bad} in its input: clean the data or drop those instances")
    if y.is_floating_point():
        if not bool(torch.isfinite(y).all()):
            raise UsageError(f"mini-batch {minibatch} holds a target that is not finite: clean the data")
    elif classes is not None:
        low, high = (int(v) for v in torch.aminmax(y))
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise UsageError(
                f"mini-batch {minibatch} holds label {wrong}: labels of this network are 0 … {classes - 1}, "
                "renumber them or build the network with more classes"
            )
