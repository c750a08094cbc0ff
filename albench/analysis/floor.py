"""Floor: the least time that an update of a whole network can take on a machine, counted before anything is timed.

Two things cannot be scheduled away. The matrix products need so many floating-point operations, and every parameter has
to come from memory and go back. Whichever of the two takes longer on the machine is the floor, as in the roofline model
(Williams, Waterman & Patterson, 2009):

    floor = max(operations / (operations per second), bytes / (bytes per second))

Bytes a parameter, in float32:

    Adam                    reads weight, gradient, two moments: 16      writes weight, two moments: 12      28
    forward and backward    read the weight, each once: 8                write the gradient: 4               12

Activations are left out: where they weigh, the floor is lower than it could be, and measured over floor higher than it
should be. A network that fits a cache beats the floor of main memory, and a ratio under 1 says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ADAM_VALUES = 7
"""Values a parameter that Adam moves: four in, three out."""
PASS_VALUES = 3
"""Values a parameter that the passes move: the weight in twice, the gradient out."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a device was measured to do at its best."""

    flops_per_second: float
    """In large matrix products."""
    bytes_per_second: float
    """In large copies, read and written bytes together."""

    def __post_init__(self) -> None:
        """Refuse rates that no time could come from."""
        for name in ("flops_per_second", "bytes_per_second"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give a rate above 0")


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The least time of one update of all parameters, and what sets it."""

    arithmetic_seconds: float
    memory_seconds: float

    @property
    def seconds(self) -> float:
        """The longer of the two."""
        return max(self.arithmetic_seconds, self.memory_seconds)

    @property
    def limit(self) -> Literal["arithmetic", "memory"]:
        """Which of the two it is."""
        return "arithmetic" if self.arithmetic_seconds >= self.memory_seconds else "memory"


def update_floor(machine: Machine, *, flops: int, parameters: int, bytes_per_value: int = 4) -> Floor:
    """Return the floor of an update of `parameters` whose matrix products take `flops` operations."""
    return Floor(
        arithmetic_seconds=flops / machine.flops_per_second,
        memory_seconds=parameters * (ADAM_VALUES + PASS_VALUES) * bytes_per_value / machine.bytes_per_second,
    )
