"""Failure conditions: what of a comparison makes a continuous build fail, as ``--fail-on`` has it.

    slower          any case that is called slower
    slower:5%       … and whose time is more than 1.05 times what it was
    faster:10%      any case whose time was more than 1.1 times what it is: too good to be true, or a baseline to renew
    can't-tell      any case that cannot be told
    failed          any case that was measured in A and failed in B
    missing         any case that is in A and not in B

Only a verdict counts, so noise fails no build; and what cannot be told passes, unless it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from albench.analysis.comparison import Comparison
from albench.errors import UsageError, unknown_name

SIZED = ("slower", "faster")
KINDS = (*SIZED, "can't-tell", "failed", "missing")


@dataclass(frozen=True, kw_only=True)
class FailureCondition:
    """One thing that must not be."""

    kind: str
    """One of `KINDS`."""
    share: float = 0.0
    """The change that is still allowed, of "slower" and "faster"; 0: none that has the verdict."""

    def __post_init__(self) -> None:
        """Refuse unknown kinds and shares that mean nothing."""
        if self.kind not in KINDS:
            raise unknown_name("condition", self.kind, KINDS)
        if self.share < 0 or (self.share and self.kind not in SIZED):
            raise UsageError(f"condition {self.kind!r} has a share of {self.share}: give slower or faster one above 0")

    @property
    def words(self) -> str:
        """What a case that meets it is."""
        by = f" by more than {100 * self.share:g} %" if self.share else ""
        return {
            "can't-tell": "not to be told",
            "failed": "failed in B only",
            "missing": "missing in B",
        }.get(self.kind, f"{self.kind}{by}")


def parse_conditions(texts: Iterable[str], *, noise: float) -> tuple[FailureCondition, ...]:
    """Return the conditions that options such as "slower:5%,failed" stand for.

    A share under the noise threshold is refused: no case under the threshold has a verdict, so it would never fail.
    """
    parts = [part.strip() for text in texts for part in text.split(",")]
    return tuple(_condition(part, noise) for part in parts)


def parse_percentage(text: str, option: str) -> float:
    """Return "5%" as 0.05; `option` is what an error names."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", text)
    if match is None:
        raise UsageError(f"{option} is {text!r}: give a percentage, such as 5%")
    return float(match[1]) / 100


def failing(
    comparison: Comparison,
    conditions: Iterable[FailureCondition],
    *,
    failed: Sequence[str] = (),
    missing: Sequence[str] = (),
) -> list[str]:
    """Return one line for each condition that is met, naming the cases; `failed` and `missing` are names as well."""
    lines = []
    for condition in conditions:
        names = {"failed": list(failed), "missing": list(missing)}.get(condition.kind)
        if names is None:
            names = _cases(comparison, condition)
        if names:
            count = f"{len(names)} case{'' if len(names) == 1 else 's'}"
            lines.append(f"{condition.words} ({count}): {'; '.join(names)}")
    return lines


def _cases(comparison: Comparison, condition: FailureCondition) -> list[str]:
    """Return the names of the cases that a condition on verdicts meets."""
    names = []
    for case in comparison.cases:
        change = max(case.ratio.estimate, 1 / case.ratio.estimate) - 1
        if case.verdict.replace(" ", "-") == condition.kind and (not condition.share or change > condition.share):
            names.append(case.pair.name)
    return names


def _condition(text: str, noise: float) -> FailureCondition:
    kind, colon, size = text.partition(":")
    kind = {"cant-tell": "can't-tell"}.get(kind, kind)  # an apostrophe is a nuisance in a shell
    if kind not in KINDS:
        raise unknown_name("--fail-on condition", kind, KINDS)
    if not colon:
        return FailureCondition(kind=kind)
    if kind not in SIZED:
        raise UsageError(f"--fail-on is {text!r}: {kind} takes no percentage, give {kind} alone")
    share = parse_percentage(size, f"--fail-on {kind}")
    if share < noise:
        raise UsageError(
            f"--fail-on is {text!r}: under the noise threshold of {100 * noise:g}% no case has a verdict, "
            f"give --noise {size} as well"
        )
    return FailureCondition(kind=kind, share=share)
