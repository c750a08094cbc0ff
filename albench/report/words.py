"""Words: how numbers are written, so that a person can read them and no two tables write them differently.

Three significant digits for times, two for ratios; intervals in brackets; thousands apart by a narrow space; and a dash
where there is no number, never a made-up one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from albench.analysis.statistics import Interval

MEBIBYTE = 2**20


def number(value: float, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits, thousands apart, without powers of ten where avoidable."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if magnitude < -4 or magnitude > 8:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa} × 10{_superscript(int(exponent))}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _superscript(exponent: int) -> str:
    """Return an exponent in raised digits."""
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def times(value: float) -> str:
    """Return a ratio, such as "4.2×"; a dash where there is none."""
    if math.isnan(value):
        return number(value)
    return f"{number(value, 3 if value >= 100 else 2)}×"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as percent; what is over nothing but rounds to it says "under 1 %"."""
    if not math.isfinite(share):
        return "–"
    if digits == 0 and 0 < share < 0.005:
        return "under 1 %"
    return f"{100 * share:.{digits}f} %"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points."""
    return f"{100 * difference:.1f} points"


def ends(interval: Interval, digits: int = 3) -> str:
    """Return the ends of an interval in brackets, or nothing where there is none, as of a single measurement."""
    if not (interval.confidence > 0 and math.isfinite(interval.low) and math.isfinite(interval.high)):
        return ""
    return f"[{number(interval.low, digits)}, {number(interval.high, digits)}]"


def median_words(rounds: Iterable[int], interval: str) -> str:
    """Say what a time and the brackets behind it are, given the rounds of all that are shown.

    `interval`: what is in the brackets where the rounds suffice.
    """
    counts = set(rounds)
    if counts == {1}:
        return "Measured in one round, of which there is no interval"
    one = "; of a single round there is none" if 1 in counts else ""
    return f"Median of the rounds [{interval}; with fewer than six rounds, the range of them{one}]"


def listed(names: Iterable[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    items = list(names)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "nothing"


def spelt(names: Sequence[str], most: int = 20) -> str:
    """Return "a; b; c", the first `most` of them and how many more there are."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return "; ".join([*names[:most], *more])


def counted(count: int, noun: str, plural: str = "s") -> str:
    """Return "1 record" or "3 records"; `plural` is what is hung on."""
    return f"{count:,} {noun}{'' if count == 1 else plural}".replace(",", "\N{NARROW NO-BREAK SPACE}")
