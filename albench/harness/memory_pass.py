"""Memory pass: peak memory of training, taken once a scenario, after its timed window.

The timed window is left alone: asking for memory there would cost time, and the peak of a process's whole life is
mostly that of loading libraries. So afterwards the same network is made afresh and trained on a few mini-batches,
enough to fill its pipeline:

    this process       libraries, data |  make trainer, train  |
                                       ^ baseline; the high-water mark is set back to it
    team's processes                      | from their birth on |
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import psutil
import torch

from albench.data import load_dataset
from albench.harness.case import trainer_options
from albench.harness.memory import Memory, give_back_free_memory, high_water_mark_bytes, reset_high_water_mark
from albench.harness.scenario import Scenario
from albench.methods import FOLDED, make_trainer

EXTRA_MINIBATCHES = 4
"""Mini-batches of the pass beyond those that fill the pipeline of an AL network, ℓ/2: optimizer state appears with the
first, and every buffer of a hand-over has been used by the fourth. More would cost a sweep whole rounds: a pipeline of
BP with many microbatches takes half a second for each."""


def measure_memory(scenario: Scenario, *, data_dir: Path | None = None) -> Memory:
    """Train a fresh trainer of a scenario on a few mini-batches in this process and return what that took."""
    dataset = load_dataset(scenario.dataset, data_dir=data_dir, seed=scenario.seed)
    fill = scenario.hidden_layers // 2 if scenario.method in FOLDED else 0
    count = min(scenario.minibatches, fill + EXTRA_MINIBATCHES)
    batches = dataset.batches(
        batch_size=scenario.batch_size,
        count=count,
        seed=scenario.seed,
        dtype=getattr(torch, scenario.precision),
        device=scenario.device,
    )
    device = DeviceMemory(scenario.device, torch.cuda)
    give_back_free_memory()
    reset = reset_high_water_mark()
    device.reset()
    baseline = psutil.Process().memory_info().rss
    trainer = make_trainer(scenario.method, trainer_options(scenario, dataset))
    try:
        trainer.train(trainer.prepare(batches))
        others = [process.pid for process in multiprocessing.active_children() if process.pid]
        peaks = [high_water_mark_bytes(pid) for pid in (os.getpid(), *others)]
        found = [peak for peak in peaks if peak is not None]
        return Memory(
            minibatches=count,
            host_peak_bytes=sum(found),
            host_baseline_bytes=baseline,
            process_peak_bytes=found,
            host_method=(
                "high-water mark set back before the trainer was made"
                if reset
                else "high-water mark of the process's whole life: it cannot be set back here"
            ),
            **device.found(processes=len(others)),
        )
    finally:
        trainer.close()


class DeviceMemory:
    """Peak memory of the CUDA device, as torch's allocator counts it. `cuda`: the module ``torch.cuda``."""

    def __init__(self, device: str, cuda: Any) -> None:
        self._cuda = cuda if device == "cuda" else None
        self._baseline = 0

    def reset(self) -> None:
        """Set the high-water mark back to what is held now."""
        if self._cuda is not None:
            self._cuda.synchronize()
            # cuBLAS keeps tens of MiB for every stream that multiplied: whoever does so again has to show them.
            torch._C._cuda_clearCublasWorkspaces()
            self._cuda.empty_cache()
            self._cuda.reset_peak_memory_stats()
            self._baseline = self._cuda.memory_allocated()

    def found(self, *, processes: int) -> dict[str, Any]:
        """Return the fields of `Memory`; `processes`: how many others the method runs in, each with its allocator."""
        if self._cuda is None:
            return {"device_reason": "the case ran on the CPU"}
        if processes:
            return {"device_reason": f"{processes} processes hold it, each with an allocator of its own"}
        self._cuda.synchronize()
        return {
            "device_peak_bytes": self._cuda.max_memory_allocated(),
            "device_baseline_bytes": self._baseline,
            "device_reserved_peak_bytes": self._cuda.max_memory_reserved(),
        }
