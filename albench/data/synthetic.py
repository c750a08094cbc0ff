"""Synthetic: random numbers with random labels, in the shape of the digits. For timing only: nothing can be learnt."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from albench.data.dataset import Dataset

INSTANCES = 4096
FEATURES = 64
CLASSES = 10


def load(name: str, *, data_dir: Path | None, seed: int, console: Console | None) -> Dataset:  # noqa: ARG001 - all alike
    """Return standard-normal x ``[4096, 64]`` and labels drawn evenly from 10 classes."""
    generator = torch.Generator().manual_seed(seed)
    return Dataset(
        name=name,
        stored_train_x=torch.randn(INSTANCES, FEATURES, generator=generator),
        train_y=torch.randint(CLASSES, (INSTANCES,), generator=generator),
        stored_held_out_x=None,
        held_out_y=None,
        classes=CLASSES,
    )
