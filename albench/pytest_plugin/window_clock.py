"""Window clock: tells pytest-benchmark how long a window took that another process timed.

pytest-benchmark reads its timer, calls the function, reads the timer again and takes the difference. This timer stands
still but for what it is told: set to zero before a round and to the window's seconds in it, it makes that difference
exactly the seconds that were measured, to the last bit.
"""

from __future__ import annotations


class WindowClock:
    """A timer for pytest-benchmark that shows what it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the seconds that it was told last."""
        return self.seconds

    def __str__(self) -> str:
        """Return what a saved run shows as its timer."""
        return "seconds of the window, as albench timed it where it ran"
