"""Adam over stacked components: rows for launches one by one, whole tensors for a tick that is recorded or compiled.

In a pipeline component i has made i updates fewer than component 0, and Adam's bias correction depends on how many, so
one step over stacked weights needs a correction a row:

    m ← β₁·m + (1-β₁)·g      v ← β₂·v + (1-β₂)·g²      w ← w - rate·(m·c₁) / (√v·c₂ + ε)
    c₁ = 1/(1-β₁ᵗ)           c₂ = 1/√(1-β₂ᵗ)           t: updates of this row, this one included

Launched one by one, torch's fused kernel is the fastest: it takes a list of rows, each with a step count of its own,
and holds everything in registers. Where a tick is compiled the same is said in whole tensors ``[K, n]``, and the
compiler makes one loop of it; where it is captured a few launches over ``[K, P]`` cost nothing to launch, and rates
and corrections are tensors on the device, which the recording reads anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

BETAS = (0.9, 0.999)
EPSILON = 1e-8


def update_rows(
    weights: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    *,
    rate: float | Tensor,
    weight_decay: float,
    epsilon: float = EPSILON,
) -> None:
    """Update rows in place at one rate; `steps` hold the number of the update that this one is."""
    # What torch.optim.Adam(fused=True) calls; the optimizer itself would spend three times as long in Python, row by
    # row, which is the very cost that stacking is there to avoid.
    torch._fused_adam_(
        weights,
        gradients,
        means,
        squares,
        [],
        steps,
        lr=rate,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=weight_decay,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )


def as_read_on(device: torch.device, rate: float) -> float:
    """Return a rate as Adam reads it: on a CUDA device from a float32, so in every engine it is that number there."""
    return torch.tensor(rate, dtype=torch.float32).item() if device.type == "cuda" else rate


def lean_step(optimizer: torch.optim.Optimizer) -> None:
    """Do what the ``step`` of ``Adam(fused=True)`` does, to the bit, without most of the Python around it.

    On the CPU that is 0.03 ms of 0.13 for a component of AL, and more where one optimizer holds a whole deep network:
    every method here takes its steps through this, so that none is timed with another one's overhead. The first step
    makes Adam's state, and cases that are rare stay the optimizer's own affair.
    """
    state, groups = optimizer.state, optimizer.param_groups
    plain = all(
        p.grad is not None and p in state and p.dtype == group["params"][0].dtype
        for group in groups
        for p in group["params"]
    )
    if not plain:
        optimizer.step()
        return
    with torch.no_grad():
        for group in groups:
            parameters = group["params"]
            steps = [state[p]["step"] for p in parameters]
            torch._foreach_add_(steps, 1)
            update_rows(
                parameters,
                [p.grad for p in parameters],
                [state[p]["exp_avg"] for p in parameters],
                [state[p]["exp_avg_sq"] for p in parameters],
                steps,
                rate=group["lr"],
                weight_decay=group["weight_decay"],
                epsilon=group["eps"],
            )


def tensorflow_epsilon(updates: int) -> float:
    """Return the ε with which torch's Adam makes update number `updates` (the first is 1) as TensorFlow 1 makes it.

        torch           w ← w - rate/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)
        TensorFlow 1    w ← w - rate·√(1-β₂ᵗ)/(1-β₁ᵗ) · m / (√v + ε)       so   ε of torch = ε/√(1-β₂ᵗ)

    The first update's is 32 times as large, the ten thousandth's larger by two in a hundred thousand.
    """
    return EPSILON / math.sqrt(1 - BETAS[1] ** updates)


def forget(optimizer: torch.optim.Optimizer) -> None:
    """Let Adam start afresh in the memory that it has: to make it anew would cost the next step, which may be timed."""
    for held in optimizer.state.values():
        for value in held.values():
            if isinstance(value, Tensor):
                value.zero_()


def corrections(steps_K: Tensor) -> tuple[Tensor, Tensor]:
    """Return c₁ and c₂ ``[K]`` of the next update, for rows that have made `steps_K` updates; in float64.

    In float32 1-β₂ would be wrong in the fifth digit.
    """
    next_K = steps_K.to(torch.float64) + 1
    return 1 / (1 - BETAS[0] ** next_K), (1 - BETAS[1] ** next_K).rsqrt()


def update_whole(
    weights: Tensor,
    gradients: Tensor,
    means: Tensor,
    squares: Tensor,
    *,
    rate: Tensor,
    root_correction: Tensor,
    weight_decay: float | Tensor,
    active: Tensor | None,
) -> None:
    """Update ``[K, n]`` in place. `rate` ``[K, 1]`` or ``[K, n]`` has c₁ in it already, `root_correction` is c₂.

    Rows that `active` ``[K, 1]`` marks False stay what they are, whatever their gradients: chosen, not multiplied by
    zero, which would let a NaN through. None: all rows are updated. `weight_decay`: a number, or one a column ``[n]``.
    """
    if isinstance(weight_decay, Tensor):
        gradients = torch.addcmul(gradients, weights, weight_decay)
    elif weight_decay:
        gradients = torch.add(gradients, weights, alpha=weight_decay)
    mean = torch.lerp(means, gradients, 1 - BETAS[0])
    square = torch.addcmul(squares * BETAS[1], gradients, gradients, value=1 - BETAS[1])
    weight = weights - rate * mean / (square.sqrt() * root_correction + EPSILON)
    keep_idle([weights, means, squares], [weight, mean, square], active)


def keep_idle(held: Sequence[Tensor], new: Sequence[Tensor], active: Tensor | None) -> None:
    """Copy `new` into what is `held`, but for the rows that `active` marks False."""
    for old, value in zip(held, new, strict=True):
        old.copy_(value if active is None else torch.where(active, value, old))
