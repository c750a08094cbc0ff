"""Drift: whether a machine kept its pace while a sweep was measured.

The same small case, the *control*, runs now and then through a sweep. On a machine that keeps its pace all its runs
take the same time; where one is far from the median of all of them, whatever was measured next to it was measured on a
faster or a slower machine than the rest. Each case lies between two runs of the control; it is as far off as the worse
of the two.

Positions are places in the order of measuring, not times: no clock that jumps can move a case.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from statistics import median

DRIFT_SHARE = 0.15
"""A case is flagged where a control beside it is off the median of the controls by more than this share. On a quiet
machine runs of a quarter of a second scatter by a few per cent; neighbours, throttling and other load move them by
twenty and more."""
FEWEST_CONTROLS = 3
"""With two runs the median lies between them, and neither can be told to be the odd one."""


def deviations(cases: Sequence[int], controls: Sequence[tuple[int, float]]) -> list[float]:
    """Return for each case how far the worse control beside it is from the median of all, as a signed share.

    `cases` are positions, `controls` pairs of position (ascending) and seconds. 0.2: the machine was 20 % slower. NaN
    where there are too few controls to tell. A case before the first or after the last control has one beside it.
    """
    if len(controls) < FEWEST_CONTROLS:
        return [math.nan] * len(cases)
    usual = median(seconds for _, seconds in controls)
    places = [place for place, _ in controls]
    shares = [seconds / usual - 1 for _, seconds in controls]
    found = []
    for case in cases:
        after = bisect.bisect(places, case)
        beside = shares[max(after - 1, 0) : after + 1]
        found.append(max(beside, key=abs))
    return found


def is_drift(deviation: float, share: float = DRIFT_SHARE) -> bool:
    """Whether a deviation is large enough to flag a case; NaN is not."""
    return abs(deviation) > share
