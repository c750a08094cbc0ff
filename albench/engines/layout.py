"""Layout: how tensors that are handed on lie in memory, which is the same whichever engine hands them on.

Libraries choose a kernel by the strides of what they are given: a convolution of channels-last features rounds
otherwise than one of the same values in rows. So a tensor goes from task to task with its strides. That needs memory
without holes or overlaps; whatever else a component hands on, a slice or an expanded row, is made contiguous first, in
every engine.
"""

from __future__ import annotations

import torch
from torch import Tensor

from albench.component import Target, Update, map_target


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor covers its memory without holes and overlaps: contiguous, but for the order of its dimensions.

    Tensors without strides, sparse ones say, are left to whoever uses them.
    """
    if tensor.layout is not torch.strided or tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(pair for pair in zip(tensor.stride(), tensor.shape, strict=True) if pair[1] != 1):
        if stride != expected:
            return False
        expected *= size
    return True


def as_dense(tensor: Tensor) -> Tensor:
    """Return the tensor, or a contiguous copy if it is not dense."""
    return tensor if is_dense(tensor) else tensor.contiguous()


def hand_on_densely(update: Update) -> Update:
    """Return `update` with dense tensors to hand on."""
    if is_dense(update.features) and _all_dense(update.target):
        return update
    return update._replace(features=as_dense(update.features), target=map_target(as_dense, update.target))


def _all_dense(target: Target) -> bool:
    if isinstance(target, Tensor):
        return is_dense(target)
    return not isinstance(target, tuple) or all(map(_all_dense, target))


def in_storage_order(tensor: Tensor) -> Tensor:
    """Return the memory of a dense tensor as a view ``[numel]``, in the order in which it lies there."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))
