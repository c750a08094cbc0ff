"""Cutting: which numbers of stages, microbatches and shares a method can run with.

A pipeline of back-propagation cuts the network into stages and each mini-batch into M equal microbatches; data
parallelism gives every process an equal share of the mini-batch. Not every number can be: torch's schedules have rules
of their own, and a case that breaks one would fail minutes later, in processes of its own, with an error that names no
remedy. So the same rules are checked here, without torch, before anything starts.

    method             rule on M, with K lanes                        stages
    GPipe              any                                            K
    1F1B               M ≥ K                                          K
    Interleaved 1F1B   M a multiple of max(1, M // K) rounds          2·K
    Zero bubble        any (torch fills up to 2·K - 1 with idle time) 2·K
"""

from __future__ import annotations

from albench.errors import UsageError
from albench.methods import METHODS, method_named

PIPELINES = tuple(name for name, method in METHODS.items() if method.microbatches)
"""The methods that cut a mini-batch into microbatches and the network into stages."""


def stages(method: str, lanes: int) -> int:
    """Return the stages that a pipeline method cuts the network into."""
    return lanes * method_named(method).chunks


def linear_layers_of(hidden_layers: int, *, bridges: bool) -> int:
    """Return the linear layers of the BP twin: hidden layers, output layer and, where AL's bridges have one, theirs."""
    return hidden_layers + (2 if bridges else 1)


def most_lanes(method: str, linear_layers: int) -> int:
    """Return the most lanes that a pipeline method can give at least one layer to in every stage; 0: none."""
    return linear_layers // method_named(method).chunks


def schedule_fault(method: str, lanes: int, microbatches: int) -> str:
    """Return why the method's schedule cannot run so many microbatches on so many lanes; empty where it can."""
    title = method_named(method).title
    if method == "1f1b" and microbatches < lanes:
        return f"{title} needs at least one for each of its {lanes} stages"
    rounds = max(1, microbatches // lanes)
    if method == "interleaved-1f1b" and microbatches % rounds:
        return f"{title} on {lanes} lanes makes {rounds} rounds of it and needs a multiple of {rounds}"
    return ""


def microbatch_fault(method: str, *, lanes: int, batch_size: int, microbatches: int) -> str:
    """Return why a mini-batch cannot be cut into so many microbatches, and what can be; empty where it can."""
    title = method_named(method).title
    if method not in PIPELINES:
        return f"{title} does not cut its mini-batches, leave it at 1" if microbatches != 1 else ""
    if batch_size % microbatches:
        fault = f"a batch of {batch_size} does not divide into {microbatches} equal parts"
    else:
        fault = schedule_fault(method, lanes, microbatches)
    if not fault:
        return ""
    near = _nearest(method, lanes, batch_size, microbatches)
    remedy = f"try {' or '.join(map(str, near))}" if near else f"give a batch size of at least {lanes} or fewer lanes"
    return f"{fault}, {remedy}"


def check_cut(
    method: str, *, lanes: int, batch_size: int, microbatches: int, replicas: int, linear_layers: int
) -> None:
    """Refuse, as a `UsageError`, numbers that the method cannot run with.

    `linear_layers` are those of the network that is cut into stages: hidden layers and the output layer.
    """
    title = method_named(method).title
    fault = microbatch_fault(method, lanes=lanes, batch_size=batch_size, microbatches=microbatches)
    if fault:
        raise UsageError(f"microbatches is {microbatches}: {fault}")
    if method in PIPELINES and lanes > (most := most_lanes(method, linear_layers)):
        needed = stages(method, lanes)
        fewer = f"at most {most} lanes or " if most else ""
        raise UsageError(
            f"lanes is {lanes}: {title} cuts the network into {needed} stages and it has {linear_layers} linear layers,"
            f" give {fewer}at least {needed - linear_layers} more hidden layers"
        )
    if replicas > 1 and method != "al-ddp":
        raise UsageError(f"replicas is {replicas}: {title} has none, leave it at 1 or give method al-ddp")
    name, shares = ("replicas", replicas) if method == "al-ddp" else ("lanes", lanes if method == "ddp" else 1)
    if batch_size % shares:
        near = sorted({batch_size // shares * shares or shares, (batch_size // shares + 1) * shares})
        raise UsageError(
            f"batch size is {batch_size}: {title} needs equal shares for its {shares} {name}, "
            f"try {' or '.join(map(str, near))}"
        )


def _nearest(method: str, lanes: int, batch_size: int, microbatches: int) -> list[int]:
    """Return the next smaller and the next larger number of microbatches that can be."""
    possible = [m for m in range(1, batch_size + 1) if not (batch_size % m or schedule_fault(method, lanes, m))]
    smaller = [m for m in possible if m < microbatches][-1:]
    return smaller + [m for m in possible if m > microbatches][:1]
