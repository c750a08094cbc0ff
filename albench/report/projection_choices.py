"""Projection choices: which number of microbatches M is a pipeline's best on how many lanes, and why its curve falls.

A curve of a pipeline is put together from one curve for each M that was measured or asked for: on each number of lanes
K the fastest counts. Not every M can be at every K (`albench.methods.cutting`: 1F1B needs M ≥ K). Where the M that was
best so far ends, only larger ones may be left, whose small matrix products cost more than another lane saves; then the
curve falls, and it is the choice of M that falls and not the schedule.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from albench.methods import method_named
from albench.methods.cutting import schedule_fault
from albench.report.projections import Projection
from albench.report.words import counted, listed, times

NOTABLE_FALL = 0.01
"""Falls that are smaller are not told of: nobody sees them."""
RULES = {"1f1b": "M ≥ K", "interleaved-1f1b": "M to be a multiple of its rounds, M // K"}
"""What a schedule asks of M."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best of a method on so many lanes."""

    lanes: int
    microbatches: int | None
    speed: float
    """Times as fast as the projection's reference."""


def choices_of(projection: Projection, method: str) -> list[Choice]:
    """Return the best of a method on each number of lanes that it is projected onto, few lanes first."""
    counts = sorted({lanes for curve in projection.curves if curve.method == method for lanes in curve.points})
    found = []
    for lanes in counts:
        best = projection.best(method, lanes)
        assert best is not None
        curve, projected = best
        found.append(Choice(lanes=lanes, microbatches=curve.microbatches, speed=projection.speed(projected.seconds)))
    return found


def falls_of(choices: list[Choice]) -> list[tuple[Choice, Choice]]:
    """Return each two neighbours of which the one on more lanes is notably slower."""
    return [
        (fewer, more) for fewer, more in itertools.pairwise(choices) if more.speed <= (1 - NOTABLE_FALL) * fewer.speed
    ]


def choice_words(projection: Projection, method: str) -> str:
    """Say which M a pipeline has on how many lanes; empty where a method has none."""
    parts = []
    for microbatches, group in itertools.groupby(choices_of(projection, method), lambda one: one.microbatches):
        if microbatches is None:
            return ""
        parts.append(f"{microbatches} on {listed(str(one.lanes) for one in group)}")
    return f"{method_named(method).title}, best M by lanes: {', '.join(parts)}."


def fall_words(projection: Projection, method: str) -> list[str]:
    """Say where the curve of a method falls as lanes are added, and why; nothing where it does not."""
    title = method_named(method).title
    said = []
    for fewer, more in falls_of(choices_of(projection, method)):
        start = f"{title} falls from {_told(fewer)} to {_told(more)}"
        allowed = sorted(
            curve.microbatches
            for curve in projection.curves
            if curve.method == method and more.lanes in curve.points and curve.microbatches is not None
        )
        if fewer.microbatches is None or fewer.microbatches in allowed:
            said.append(f"{start}: what another lane saves is less than uneven stages and hand-overs cost.")
            continue
        rule = RULES.get(method, "")
        why = f"on {more.lanes} lanes the schedule needs {rule}, and " if _is_ruled_out(method, fewer, more) else ""
        said.append(
            f"{start}: {why}of the M that were measured or asked for only {listed(map(str, allowed))} can be. "
            "No M in between was measured."
        )
    return said


def _is_ruled_out(method: str, fewer: Choice, more: Choice) -> bool:
    """Whether it is the schedule's own rule that the M of fewer lanes cannot be on more."""
    return bool(method in RULES and fewer.microbatches and schedule_fault(method, more.lanes, fewer.microbatches))


def _told(choice: Choice) -> str:
    chosen = "" if choice.microbatches is None else f" (M = {choice.microbatches})"
    return f"{times(choice.speed)} on {counted(choice.lanes, 'lane')}{chosen}"
