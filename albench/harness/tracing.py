"""Tracing: one run in this process, seen task by task.

What runs is what `albench.harness.case` times: warmed up, from an empty to a drained pipeline, mini-batches in memory.
Reading the clock twice a task and keeping the span costs about a microsecond a task, and changes no result.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
from pathlib import Path

import torch

from albench.data import load_dataset
from albench.harness.case import WARM_UP_MINIBATCHES, time_training, trainer_options, warm_up
from albench.harness.environment import cpu_name
from albench.harness.traceable import Plan
from albench.machine import launched_processes, usable_cores
from albench.methods import make_trainer, span_unit
from albench.trace import Trace

KEPT_BYTES = 2**28
"""Mini-batches are held in memory up to this size, and come round again beyond: it is their time that is looked at."""


def trace(plan: Plan, *, data_dir: Path | None) -> Trace | None:
    """Run a plan and return its trace; None on all ranks but the first where a launcher started several.

    Raises `UsageError` for a network that the engine cannot run, and what its components raise.
    """
    scenario = plan.scenario
    dataset = load_dataset(scenario.dataset, data_dir=data_dir, seed=scenario.seed)
    dtype = getattr(torch, scenario.precision)
    batch_bytes = scenario.batch_size * dataset.in_features * dtype.itemsize
    batches = dataset.batches(
        batch_size=scenario.batch_size,
        count=min(scenario.minibatches, max(WARM_UP_MINIBATCHES, KEPT_BYTES // batch_bytes)),
        seed=scenario.seed,
        dtype=dtype,
        device=scenario.device,
    )
    trainer = make_trainer(scenario.method, trainer_options(scenario, dataset, trace=True))
    try:
        warm_up(trainer, batches[:WARM_UP_MINIBATCHES], scenario.device)
        once = scenario.minibatches <= len(batches)
        again = itertools.islice(itertools.cycle(batches), scenario.minibatches)
        time_training(trainer, trainer.prepare(batches[: scenario.minibatches]) if once else again, scenario.device)
        if os.environ.get("RANK", "0") != "0" and launched_processes():
            return None
        return Trace(
            spans=tuple(trainer.spans),
            unit=span_unit(scenario.method, scenario.engine),
            lane_kind=trainer.lane_kind,
            title=dataclasses.replace(scenario, lanes=trainer.lanes).series,
            sizes=f"ℓ = {scenario.hidden_layers}, width {scenario.width}, "
            f"batch {scenario.batch_size} × {scenario.minibatches}",
            host=platform.node(),
            machine=machine(scenario.device),
            notes=(*trainer.notes, *plan.notes),
        )
    finally:
        trainer.close()


def machine(device: str) -> str:
    """Return what a run on a device runs on, in words."""
    cores = usable_cores()
    words = f"{cpu_name()}, {cores} usable core{'' if cores == 1 else 's'}, torch {torch.__version__}"
    return f"{torch.cuda.get_device_name()}, {words}" if device == "cuda" else words
