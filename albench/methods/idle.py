"""Idle: a method that trains nothing, so that what a harness costs by itself can be measured.

A case of it goes through everything that any case does: a fresh process, the data, a warm-up, the timed window, the
record. Its time is what opening and closing the window costs; a sweep of many shows what a case costs beside that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from albench.engines.batch import Batch
from albench.methods.trainer import Trainer, TrainerOptions


class IdleTrainer(Trainer):
    """Reads the mini-batches and does nothing with them."""

    lanes = 1
    lane_kind = "none"
    components = None
    effective_parameters = 0
    affiliated_parameters = 0

    def __init__(self, options: TrainerOptions) -> None:
        self.device = options.device
        self._classes = options.classes

    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Do nothing."""

    def train(self, batches: Iterable[Batch]) -> None:
        """Read the mini-batches to the end."""
        for _ in batches:
            pass

    def predict(self, x: Tensor) -> Tensor:
        """Return the same scores, zero, for every class of x ``[B, …]``."""
        return torch.zeros(len(x), self._classes, device=x.device)

    @property
    def losses(self) -> list[dict[str, float]]:
        """None: there is no objective."""
        return []


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return an idle trainer."""
    return IdleTrainer(options)
