"""Derived: what a reader wants to know of a measurement, from the numbers that were measured.

    samples/s           n / T                    n instances in T seconds
    ms a mini-batch     T / N                    N mini-batches
    FLOP/s              F·N / T                  F operations of the matrix products of one mini-batch
    share of the peak   FLOP/s / peak            the peak measured on this machine, not a data sheet's
    joules a sample     E / n                    E joules that the devices in use drew in the window

Nothing is guessed: where a number was not measured, what follows from it is None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from albench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Derived:
    """What follows from one measured window."""

    samples_per_second: float
    """Training instances a second."""
    milliseconds_per_minibatch: float
    """Milliseconds of the window for each mini-batch, fill and drain of the pipeline shared out."""
    flops_per_second: float | None
    """Floating-point operations of the matrix products a second; None: not counted."""
    share_of_peak: float | None
    """That over the matrix-product peak measured on this machine with as many threads or devices; None: no peak."""
    joules_per_sample: float | None
    """Energy that the devices in use drew, for each training instance; None: not measured."""


def derive(
    *,
    seconds: float,
    instances: int,
    minibatches: int,
    flops_per_minibatch: int | None = None,
    matmul_peak_flops_per_second: float | None = None,
    energy_joules: float | None = None,
) -> Derived:
    """Return what follows from a window of `seconds` in which `instances` were trained in `minibatches`.

    `UsageError` if a time, a count or a peak is not above 0.
    """
    counts = {"seconds": seconds, "instances": instances, "minibatches": minibatches}
    if matmul_peak_flops_per_second is not None:
        counts["matmul peak"] = matmul_peak_flops_per_second
    for name, value in counts.items():
        if not (value > 0 and math.isfinite(value)):
            raise UsageError(f"{name} is {value}: give a number above 0")
    flops = None if flops_per_minibatch is None else flops_per_minibatch * minibatches / seconds
    peak = matmul_peak_flops_per_second
    return Derived(
        samples_per_second=instances / seconds,
        milliseconds_per_minibatch=seconds / minibatches * 1e3,
        flops_per_second=flops,
        share_of_peak=None if flops is None or peak is None else flops / peak,
        joules_per_sample=None if energy_joules is None else energy_joules / instances,
    )
