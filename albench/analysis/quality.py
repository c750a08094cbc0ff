"""Quality: what makes a measurement less than it looks, and what to do about it, as plain warnings with a remedy.

A warning never changes a number and never ends a sweep. It says that a time is too short to be trusted, that times
spread or jump, that there are too few of them for an interval, or that something else had the machine. Each threshold
is a constant that says why it is what it is; what was not observed (None) is not warned of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from albench.analysis.statistics import CONFIDENCE, outliers

Kind = Literal[
    "too-short",
    "too-noisy",
    "extreme-outliers",
    "too-few-samples",
    "throttled",
    "other-load",
    "busy-machine",
    "frequency-scaling",
]

SHORTEST_SECONDS = 0.010
"""A window under this is at the mercy of the scheduler: one time slice of another process (a few milliseconds on Linux)
is then a good part of it."""
NOISY_SPREAD = 0.10
"""Quartile range over median from which times are called noisy; half of them lie further apart than that. It is the
first of the two levels at which torch.utils.benchmark warns."""
EXTREME_SHARE = 0.25
"""A severe outlier by Tukey's fences is called extreme if it is off the median by more than this as well: where all
other times agree within a thousandth, the fences alone make an outlier of nothing."""
FEWEST_SAMPLES = next(m for m in range(1, 99) if 1 - 0.5 ** (m - 1) >= CONFIDENCE)
"""Six: with fewer, all lie on one side of the true median too often for a 95 % interval."""
OTHER_CPU_SHARE = 0.05
"""Share of the machine's CPU time that other processes may have in a window. On two cores it is a tenth of one, which
is what a busy lane would feel."""
LOAD_SHARE = 0.5
"""Load average over usable cores above which a machine was busy before the sweep began."""
SPREAD_SAMPLES = 4
"""Fewest samples whose quartiles mean anything."""
STEADY_GOVERNORS = frozenset({"performance", "userspace"})
"""CPU frequency governors that keep the clock where it is, as far as the hardware lets them."""
HARMLESS_EVENTS = frozenset(
    {
        "none",
        "gpu idle",
        "application clocks setting",
        "applications clocks setting",
        "sync boost",
        "display clock setting",
    }
)
"""GPU clock events that slow nothing down that anybody did not ask for."""

PHRASES: dict[Kind, tuple[str, str]] = {
    "too-short": (
        f"ran under {1000 * SHORTEST_SECONDS:g} ms",
        "raise --minibatches, so that a window is longer than a time slice",
    ),
    "too-noisy": (
        f"spread by over {100 * NOISY_SPREAD:g} %",
        "raise --rounds, and let nothing else run on the machine",
    ),
    "extreme-outliers": (
        "had times far off the others",
        "see what else ran then; they were kept, and the median hardly follows them",
    ),
    "too-few-samples": (
        f"had fewer than {FEWEST_SAMPLES} times, too few for a {100 * CONFIDENCE:g} % interval of a median",
        f"give --rounds {FEWEST_SAMPLES} or more",
    ),
    "throttled": ("ran on a GPU that held its clock down", "cool the card, raise its power limit, or lock its clocks"),
    "other-load": (
        f"shared the machine: other processes took over {100 * OTHER_CPU_SHARE:g} % of its CPU time",
        "stop what runs beside, and run the sweep anew",
    ),
    "busy-machine": ("the machine was busy before the sweep began", "wait until it is idle"),
    "frequency-scaling": (
        "the CPU's clock follows its load",
        "set the governor: cpupower frequency-set --governor performance",
    ),
}
"""What a case did, or what the machine was, and the remedy."""
OF_THE_MACHINE: tuple[Kind, ...] = ("busy-machine", "frequency-scaling")
"""Kinds that concern all cases alike."""


@dataclass(frozen=True, kw_only=True)
class QualityWarning:
    """One thing to know about one case, or about the machine."""

    kind: Kind
    case: str
    """The case's name; empty where it is about the machine."""
    detail: str
    """What was seen, with its number, such as "2.1 ms"."""
    amount: float
    """How bad it is: the larger, the worse among warnings of one kind."""

    @property
    def text(self) -> str:
        """What is wrong, in one line."""
        phrase = PHRASES[self.kind][0]
        return f"{self.case} {phrase} ({self.detail})" if self.case else f"{phrase} ({self.detail})"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return PHRASES[self.kind][1]


def case_warnings(
    case: str,
    seconds: Sequence[float],
    *,
    other_cpu_share: Sequence[float] | None = None,
    clock_events: Iterable[str] = (),
) -> list[QualityWarning]:
    """Return what is to be said of one case.

    `seconds` are its measured times, finite, one a round. `other_cpu_share` is the share of the machine's CPU time that
    processes of others used in each of these windows, in [0, 1]; `clock_events` are the GPU's clock-event (throttle)
    reasons in any of them, by name.
    """
    found: list[QualityWarning] = []

    def warn(kind: Kind, detail: str, amount: float) -> None:
        found.append(QualityWarning(kind=kind, case=case, detail=detail, amount=amount))

    if len(seconds):
        median = float(np.median(seconds))
        if median < SHORTEST_SECONDS:
            warn("too-short", f"{1000 * median:.3g} ms", -median)
        if len(seconds) < FEWEST_SAMPLES:
            warn("too-few-samples", f"{len(seconds)}", -len(seconds))
        _spread_warnings(warn, seconds, median)
    if other_cpu_share:
        largest = max(other_cpu_share)
        if largest > OTHER_CPU_SHARE:
            warn("other-load", f"{100 * largest:.0f} %", largest)
    slowing = sorted({event for event in clock_events if _event(event) not in HARMLESS_EVENTS})
    if slowing:
        warn("throttled", ", ".join(slowing), len(slowing))
    return found


def machine_warnings(
    *,
    load_average: float | None = None,
    usable_cores: int | None = None,
    governors: Iterable[str] = (),
) -> list[QualityWarning]:
    """Return what is to be said of the machine.

    `load_average` is the mean number of processes that wanted to run in the minute before the sweep began; `governors`
    are the CPU frequency governors of its cores, by name, none where the system shows none.
    """
    found = []
    if load_average is not None and usable_cores and load_average > LOAD_SHARE * usable_cores:
        cores = f"{usable_cores} core{'' if usable_cores == 1 else 's'}"
        found.append(
            QualityWarning(
                kind="busy-machine", case="", detail=f"load {load_average:.2g} on {cores}", amount=load_average
            )
        )
    scaling = sorted(set(governors) - STEADY_GOVERNORS)
    if scaling:
        found.append(
            QualityWarning(
                kind="frequency-scaling", case="", detail=f"governor {', '.join(scaling)}", amount=len(scaling)
            )
        )
    return found


def summary(warnings: Iterable[QualityWarning]) -> list[str]:
    """Return one line a kind, such as "12 cases ran under 10 ms (the worst: BP, ℓ = 2, 1.3 ms): raise …"."""
    by_kind: dict[Kind, list[QualityWarning]] = defaultdict(list)
    for warning in warnings:
        by_kind[warning.kind].append(warning)
    lines = []
    for kind, (phrase, remedy) in PHRASES.items():
        group = by_kind[kind]
        if not group:
            continue
        worst = max(group, key=lambda warning: warning.amount)
        if kind in OF_THE_MACHINE:
            lines.append(f"{worst.text}: {remedy}")
        elif len(group) == 1:
            lines.append(f"1 case {phrase} ({worst.case}: {worst.detail}): {remedy}")
        else:
            lines.append(f"{len(group)} cases {phrase} (the worst: {worst.case}: {worst.detail}): {remedy}")
    return lines


def _spread_warnings(warn: Callable[[Kind, str, float], None], seconds: Sequence[float], median: float) -> None:
    """Warn of times that spread or jump; of too few nothing is said."""
    if len(seconds) < SPREAD_SAMPLES or not median > 0:
        return
    first, third = np.percentile(seconds, (25, 75))
    spread = float(third - first) / median
    if spread > NOISY_SPREAD:
        warn("too-noisy", f"half of its times lie {100 * spread:.0f} % apart", spread)
    farthest = max(abs(value - median) for value in seconds) / median
    severe = outliers(seconds).severe
    if severe and farthest > EXTREME_SHARE:
        warn("extreme-outliers", f"{severe} of {len(seconds)}, up to {100 * farthest:.0f} % off", farthest)


def _event(name: str) -> str:
    """Return the name of a clock event in lower case, in words."""
    return name.lower().replace("_", " ").replace("-", " ").strip()
