"""Link: what handing over costs between two lanes, by latency and bandwidth.

A message of b bytes occupies its link for b / bandwidth seconds and arrives latency seconds after that. Both numbers
are given, or measured from the times of a small and a large message, t = latency + b / bandwidth.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from albench.errors import UsageError

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
BYTES_PER_SECOND = {"GB/s": 1e9, "MB/s": 1e6, "Gbit/s": 1e9 / 8, "Mbit/s": 1e6 / 8}
NUMBER_AND_UNIT = re.compile(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")


@dataclass(frozen=True, kw_only=True)
class Link:
    """What carries messages from one lane to the next, one at a time in each direction."""

    latency_seconds: float = 0.0
    bytes_per_second: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what no link can be."""
        if not 0 <= self.latency_seconds < math.inf:
            raise UsageError(f"link latency is {self.latency_seconds} s: give a finite number of at least 0")
        if not self.bytes_per_second > 0:
            raise UsageError(f"link bandwidth is {self.bytes_per_second} bytes/s: give a number above 0")

    def occupied_seconds(self, message_bytes: float) -> float:
        """Return how long a message keeps the link busy."""
        return message_bytes / self.bytes_per_second

    @property
    def is_free(self) -> bool:
        """Whether handing over costs nothing."""
        return self.latency_seconds == 0 and math.isinf(self.bytes_per_second)


FREE = Link()
"""Handing over costs nothing: what is projected with it is a lower bound."""


def link_through(small: tuple[int, float], large: tuple[int, float]) -> Link:
    """Return the link on which two messages of (bytes, seconds) take as long as they did.

    Raises `UsageError` where the larger message did not take longer: then the times say nothing of a bandwidth.
    """
    (small_bytes, small_seconds), (large_bytes, large_seconds) = small, large
    if not (0 < small_bytes < large_bytes and 0 < small_seconds < large_seconds):
        raise UsageError(
            f"{large_bytes} bytes took {large_seconds:g} s and {small_bytes} bytes {small_seconds:g} s: these times "
            "give no bandwidth, measure again on a quiet machine or give --link-latency and --link-bandwidth"
        )
    bytes_per_second = (large_bytes - small_bytes) / (large_seconds - small_seconds)
    return Link(
        latency_seconds=max(0.0, small_seconds - small_bytes / bytes_per_second), bytes_per_second=bytes_per_second
    )


def latency_seconds(text: str) -> float:
    """Return a latency such as "5us", "0.1 ms" or, in seconds, "5e-6"; over a second is a unit that was forgotten."""
    seconds = _with_unit(text, SECONDS, "s", "link latency", "5us")
    if seconds > 1:
        raise UsageError(f"link latency is {text!r}, over a second: give it with its unit, such as 5us")
    return seconds


def bytes_per_second(text: str) -> float:
    """Return a bandwidth such as "25", which is in GB/s (10⁹ bytes), "800MB/s" or "200Gbit/s"."""
    return _with_unit(text, BYTES_PER_SECOND, "GB/s", "link bandwidth", "25GB/s")


def _with_unit(text: str, units: dict[str, float], unit: str, name: str, example: str) -> float:
    match = NUMBER_AND_UNIT.fullmatch(text)
    if match is None or (match[2] or unit) not in units:
        raise UsageError(
            f"{name} is {text!r}: give a number of {unit}, or one with a unit of {', '.join(units)}, such as {example}"
        )
    try:
        return float(match[1]) * units[match[2] or unit]
    except ValueError:  # "1.2.3"
        raise UsageError(f"{name} is {text!r}: give a number of {unit}, such as {example}") from None
