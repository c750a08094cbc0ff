"""The machine: what this process may use of it."""

from __future__ import annotations

import os
from typing import Literal, get_args

LaneKind = Literal["stream", "sm-share"]
"""What a lane of one GPU is: a stream, or a stream on a share of the multiprocessors that is its own."""
LANE_KINDS: tuple[str, ...] = get_args(LaneKind)
COMPILES_TICKS_RIGHT = (2, 12)
"""The first torch that compiles a tick of stacked components rightly for a CPU: 2.11 overwrites an input before its
gradient reads it."""


def version_pair(version: str) -> tuple[int, int]:
    """Return major and minor of a version such as "2.15.0+cu130"."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def usable_cores() -> int:
    """Return the CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher such as ``torchrun`` tells each process that it starts."""


def launched_processes() -> int | None:
    """Return how many processes a launcher such as ``torchrun`` started together with this one; None: it did not."""
    if not all(name in os.environ for name in LAUNCHER_VARIABLES):
        return None
    return int(os.environ["WORLD_SIZE"])
