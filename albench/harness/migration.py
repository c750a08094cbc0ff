"""Migration: how a record of an older version becomes one of this version, as plain JSON, step by step.

A step says in full what an older record meant. It names values and not today's defaults, which may change. Files are
never rewritten: a record is brought up to date whenever it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]


def _to_version_2(record: Fields) -> Fields:
    """Version 1 grew while it was in use: its first records were made before there was a GPU, a copy or a microbatch.

    Version 2 allows null as a loss, which version 1 wrote (of a training that diverged) and then could not read.
    """
    scenario = record.get("scenario")
    if isinstance(scenario, dict):
        scenario = {"microbatches": 1, "replicas": 1, "device": "cpu"} | scenario
    return {"flops_per_minibatch": None} | record | {"scenario": scenario, "version": 2}


STEPS: tuple[Callable[[Fields], Fields], ...] = (_to_version_2,)
"""The step at index i leads from version i + 1 to i + 2."""


def migrated(record: Fields, version: int) -> Fields:
    """Return a record of an older `version`, at least 1, as one of the newest version."""
    for step in STEPS[version - 1 :]:
        record = step(record)
    return record
