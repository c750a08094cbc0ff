"""Projection: what measured task times would give on lanes that this machine does not have.

The durations are measured, one a component; the lanes are not. The replay assumes lanes that are as fast as the one
that was measured and a hand-over that costs nothing, so a projection is a lower bound. Everything made from it is
labelled *projected*.
"""

from __future__ import annotations

from collections.abc import Sequence

from albench.schedule import partition, timeline


def pipeline_seconds(task_seconds: Sequence[float], minibatches: int, lanes: int | None = None) -> float:
    """Return the projected seconds of `minibatches` mini-batches from an empty to a drained pipeline.

    `task_seconds`: measured seconds of one task of each component. `lanes`: None stands for one lane a component.
    Components are put on lanes in contiguous blocks of least costliest lane.
    """
    blocks = partition(task_seconds, lanes if lanes is not None else len(task_seconds))
    return timeline(task_seconds, minibatches, blocks).makespan
