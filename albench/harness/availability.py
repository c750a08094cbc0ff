"""Availability: which engines can run on this machine, and why the others cannot."""

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
