"""Precision: the arithmetic that makes engines comparable to the last bit on a CUDA device.

Three things would let two engines part that do the same work in the same order:

* TF32 rounds the factors of a float32 product to ten bits of mantissa, in some kernels and not in others.
* cuDNN's autotuner picks the kernel that was fastest a moment ago, and another one in the next run; and some of its
  kernels add in whatever order their blocks finish.
* cuBLAS may split a sum otherwise when it is given another amount of scratch memory. torch gives each pair of thread
  and stream a workspace of its own, all of one size, so lanes see what a single stream sees, for some MiB of memory a
  lane. Only ``CUBLAS_WORKSPACE_CONFIG=:0:0`` takes that away; an engine that runs lanes then says so in its notes.

The first two are switched off while an engine trains, and left as they were found.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, cast

import torch


@contextlib.contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Compute float32 products in float32 and with fixed kernels while inside; elsewhere than on CUDA a no-op."""
    if device.type != "cuda":
        yield
        return
    cudnn = cast("Any", torch.backends.cudnn)
    # Through the newer of torch's two switches: reading the older one raises where the newer one was used.
    switches = [cast("Any", torch.backends.cuda.matmul), cudnn.conv, cudnn.rnn]
    precisions = [switch.fp32_precision for switch in switches]
    benchmark, deterministic = cudnn.benchmark, cudnn.deterministic
    try:
        for switch in switches:
            switch.fp32_precision = "ieee"
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        for switch, precision in zip(switches, precisions, strict=True):
            switch.fp32_precision = precision
        cudnn.benchmark, cudnn.deterministic = benchmark, deterministic


@contextlib.contextmanager
def usual_modes(device: torch.device) -> Iterator[None]:
    """Compute with gradients and in the types of the weights while inside, whatever the caller has switched.

    ``no_grad``, ``inference_mode`` and ``autocast`` are a thread's own: lanes that are threads or processes do not see
    those around the caller's call, so one lane must not either. What a component itself switches holds.
    """
    with torch.inference_mode(False), torch.enable_grad(), _no_autocast(device.type):
        yield


@contextlib.contextmanager
def _no_autocast(device_type: str) -> Iterator[None]:
    """Be outside every ``autocast`` while inside.

    Another one that is switched off would not do: ``autocast`` keeps the weights that it has cast until the outermost
    one ends, and a component that uses it would compute with those of an earlier update.
    """
    enabled = torch.is_autocast_enabled(device_type)
    depth = torch.autocast_increment_nesting() - 1
    try:
        torch.set_autocast_enabled(device_type, False)
        for _ in range(depth + 1):
            torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()
        yield
    finally:
        for _ in range(depth):
            torch.autocast_increment_nesting()
        torch.set_autocast_enabled(device_type, enabled)


def workspace_note() -> str | None:
    """Return what a user should know about cuBLAS's workspaces; None where all is well."""
    setting = os.environ.get("CUBLAS_WORKSPACE_CONFIG", "")
    if setting.strip() != ":0:0":
        return None
    return "CUBLAS_WORKSPACE_CONFIG=:0:0 leaves lanes without workspaces: results may part from serial in the last bits"
