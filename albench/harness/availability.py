"""Availability: which engines and which kinds of lanes this machine has, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from albench.methods import METHODS


@dataclass(frozen=True, kw_only=True)
class Availability:
    """Whether one engine of one method can run here."""

    method: str
    engine: str
    available: bool
    reason: str
    """Where it cannot: why."""
    lanes: str
    """What its lanes would be here."""


def engine_availability(facts: dict[str, Any]) -> list[Availability]:
    """Return every engine of every method, given what `albench.harness.environment.describe` found."""
    cores = facts["usable_cores"]
    kinds = {
        "serial": "1 CPU thread",
        "threads": f"up to {cores} CPU threads" + ("; with one core nothing overlaps" if cores == 1 else ""),
        "fused": f"all components stacked, up to {cores} intra-op threads",
        "eager": f"up to {cores} intra-op threads",
    }
    missing = "" if facts["packages"]["torch"] != "not installed" else "torch is not installed"
    return [
        Availability(method=name, engine=engine, available=not missing, reason=missing, lanes=kinds[engine])
        for name, method in METHODS.items()
        for engine in method.engines
    ]


def share_availability(facts: dict[str, Any]) -> str:
    """Return "available", or why the SMs of the GPU here cannot be shared out between lanes.

    Given what `albench.harness.environment.describe` found. Where there is a GPU this initialises CUDA.
    """
    if facts["packages"]["torch"] == "not installed":
        return "no: torch is not installed"
    if not facts["gpus"]:
        return f"no: there is no GPU ({facts['gpu_reason']})"
    from albench.engines import shares  # torch takes seconds: only where there is a GPU to ask about

    reason = shares.unavailable_reason()
    return "available" if reason is None else f"no: {reason}"
