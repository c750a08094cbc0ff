"""Sampling: what readings that were taken now and then say about a window of time.

    readings   ·   ·   ·   ·   ·   ·   ·   ·
    window           [---------------]

A *gauge* (power, memory) is read as it stands: the readings inside the window count. A *counter* (CPU seconds, joules)
only grows: what it grew by is the difference between the window's ends, where it is interpolated between the reading
before and the reading after, so the whole window counts and not only what lies between the first and last reading.

Some gauges are averages themselves and look back: NVML's utilisation and power cover up to a second before they are
read. Their first readings in a window speak of the time before it and are left out (`settle_seconds`).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

MINIMUM_READINGS = 5
"""Fewer say nothing about a window. CPU time is counted in steps of 10 ms; five readings at the fastest rate lie 50 ms
apart at least, so that a step is no more than a twentieth of what they span."""
SERIES_POINTS = 120
"""The most points of a series that is kept for a figure: more than a figure a hand wide can show."""


class NotKnownError(ValueError):
    """The readings do not say; the message is why, in one line."""


def inside(times: Sequence[float], start: float, end: float) -> range:
    """Return the places of the readings with ``start <= time <= end``. `times` [n] in seconds, ascending."""
    return range(bisect_left(times, start), bisect_right(times, end))


def readings_in(
    times: Sequence[float],
    values: Sequence[float | None],
    start: float,
    end: float,
    *,
    settle_seconds: float = 0.0,
    minimum: int = MINIMUM_READINGS,
) -> list[float]:
    """Return a gauge's readings that speak of the window; `NotKnownError` if fewer than `minimum` do.

    `times`, `values` [n]; None is a reading that failed.
    """
    places = inside(times, start + settle_seconds, end)
    found = [value for i in places if (value := values[i]) is not None]
    if len(found) < minimum:
        window = f"a window of {end - start:.3g} s"
        if settle_seconds:
            window += f", of which the first {settle_seconds:g} s do not count as each looks that far back"
        raise NotKnownError(f"{len(found)} readings in {window}: at least {minimum} are needed")
    return found


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)


def counter_at(times: Sequence[float], values: Sequence[float], moment: float) -> float:
    """Return a counter at `moment`, between its neighbours; `NotKnownError` before the first or after the last."""
    if not times or not times[0] <= moment <= times[-1]:
        raise NotKnownError("the readings do not cover the window")
    after = bisect_left(times, moment)
    if times[after] == moment:
        return values[after]
    before = after - 1
    share = (moment - times[before]) / (times[after] - times[before])
    return values[before] + share * (values[after] - values[before])


def counter_growth(times: Sequence[float], values: Sequence[float | None], start: float, end: float) -> float:
    """Return what a counter grew by between `start` and `end`.

    `NotKnownError` if its readings do not cover the window, or if it went backwards near it: a counter that was reset
    or wrapped around has lost what it had counted, and nobody knows how much that was.
    """
    found = [(time, value) for time, value in zip(times, values, strict=True) if value is not None]
    known_times, known = [time for time, _ in found], [value for _, value in found]
    first, last = counter_at(known_times, known, start), counter_at(known_times, known, end)
    lowest, highest = max(bisect_right(known_times, start) - 1, 0), bisect_left(known_times, end)
    near = known[lowest : highest + 1]
    if any(later < earlier for earlier, later in itertools.pairwise(near)):
        raise NotKnownError("the counter went backwards")
    return last - first


def thinned(places: range, most: int = SERIES_POINTS) -> list[int]:
    """Return at most `most` (2 or more) of `places`, evenly spread, the first and the last among them."""
    if len(places) <= most:
        return list(places)
    step = (len(places) - 1) / (most - 1)
    return [places[round(i * step)] for i in range(most)]


def sampling_interval(cost_seconds: float, *, share: float, fastest_seconds: float, slowest_seconds: float) -> float:
    """Return how many seconds to leave between readings that each cost `cost_seconds` of a core.

    As fast as `share` of one core allows, within the two limits.
    """
    return min(max(cost_seconds / share, fastest_seconds), slowest_seconds)
