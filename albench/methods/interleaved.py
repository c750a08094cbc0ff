"""Interleaved 1F1B on torch.distributed.pipelining, one process a lane (`albench.methods.pipelines`)."""

from __future__ import annotations

from albench.methods.pipelines import PipelineTrainer
from albench.methods.trainer import Trainer, TrainerOptions


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return a trainer."""
    return PipelineTrainer(options, method="interleaved-1f1b")
