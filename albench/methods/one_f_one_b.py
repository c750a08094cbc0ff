"""1F1B: on torch.distributed.pipelining, one process a lane, or on the lanes of one GPU, which is albench's own.

In processes it is what a user would run (`albench.methods.pipelines`). On one GPU, on streams or in one CUDA graph, it
follows `albench.schedule.one_f_one_b` on the very lanes that AL's engines use (`albench.methods.stage_lanes`).
"""

from __future__ import annotations

from albench.methods.pipelines import PipelineTrainer
from albench.methods.stage_lanes import StageLanesTrainer
from albench.methods.trainer import Trainer, TrainerOptions
from albench.schedule import one_f_one_b


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return a trainer for ``options.engine``: "ranks", "streams" or "graph"."""
    if options.engine == "ranks":
        return PipelineTrainer(options, method="1f1b")
    return StageLanesTrainer(options, clock=one_f_one_b, captured=options.engine == "graph")
