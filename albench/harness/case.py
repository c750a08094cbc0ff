"""Case: one scenario measured in the process that this runs in. The runner gives every case a fresh one.

What is timed: N mini-batches from an empty to a drained pipeline, optimizer included, data already in memory. What is
not: building the network, loading and cutting the data, a warm-up after which the trainer is as freshly made, and
everything after the window (held-out accuracy, task times). One kind of case has its real input pipeline on (purpose
"input"): its mini-batches are drawn, gathered and, in a team, sent to other processes while the window lasts.

A network that is trained to the end (purpose "accuracy") has a window an epoch, and is looked at between them: its time
is that of all its windows, each from an empty to a drained pipeline.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from albench.analysis.time_to_accuracy import CurvePoint
from albench.data import load_dataset
from albench.data.dataset import Dataset
from albench.engines.batch import Batch
from albench.errors import UsageError
from albench.harness.memory import whole_life_peak_bytes
from albench.harness.outcome import Outcome
from albench.harness.scenario import Scenario
from albench.methods import make_trainer
from albench.methods.trainer import Trainer, TrainerOptions, accuracy_over
from albench.networks import network_named

WARM_UP_MINIBATCHES = 6
"""Enough for thread pools, allocator and matrix-product caches to settle; the first step alone is up to ten times as
long as those that follow."""

DEVICE_WARM_UP_SECONDS = 0.3
"""How long a GPU is warmed up at least."""

TRACED_MINIBATCHES = 20
"""Mini-batches from which the median time of a task is taken, after the window."""


def trainer_options(scenario: Scenario, dataset: Dataset, **changes: Any) -> TrainerOptions:
    """Return the options that make a scenario's trainer for a data set.

    Raises `UsageError` for a network of images where the data are none.
    """
    if network_named(scenario.network).images and len(dataset.instance_shape) != 3:
        raise UsageError(
            f"network is {scenario.network!r} and data set {dataset.name} has instances of shape "
            f"{list(dataset.instance_shape)}: it takes images, give network 'mlp' or a data set of images"
        )
    options: dict[str, Any] = {
        "engine": scenario.engine,
        "in_features": dataset.in_features,
        "input_shape": dataset.instance_shape,
        "network": scenario.network,
        "bridge": scenario.bridge,
        "initial_scale": scenario.initial_scale,
        "classes": dataset.classes,
        "width": scenario.width,
        "hidden_layers": scenario.hidden_layers,
        "bridge_width": scenario.bridge_width,
        "lanes": scenario.lanes,
        "learning_rate": scenario.learning_rate,
        "distinct_targets": scenario.distinct_targets,
        "dtype": getattr(torch, scenario.precision),
        "seed": scenario.seed,
        "microbatches": scenario.microbatches,
        "replicas": scenario.replicas,
        "device": scenario.device,
        "lane_kind": scenario.lane_kind,
        "lane_sms": scenario.lane_sms,
    }
    return TrainerOptions(**(options | changes))


def warm_up(trainer: Trainer, batches: list[Batch], device: str) -> None:
    """Train until nothing happens for the first time any more; the trainer is as freshly made afterwards.

    Six mini-batches are some milliseconds on a GPU, whose clocks then still rise: there it goes on for longer.
    """
    end = time.monotonic() + (DEVICE_WARM_UP_SECONDS if device == "cuda" else 0.0)
    while True:
        trainer.warm_up(batches)
        if device == "cuda":
            torch.cuda.synchronize()
        if time.monotonic() >= end:
            return


class Window(NamedTuple):
    """A timed window, on the clock of `time.perf_counter`."""

    start: float
    end: float


def time_training(trainer: Trainer, batches: Iterable[Batch], device: str = "cpu") -> Window:
    """Return when training on `batches` began and ended, from an empty to a drained pipeline."""
    gc.collect()
    gc.disable()  # a collection inside the window would be charged to whichever method it hits
    try:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        trainer.train(batches)
        if device == "cuda":
            torch.cuda.synchronize()
        return Window(start, time.perf_counter())
    finally:
        gc.enable()


def measure(scenario: Scenario, *, data_dir: Path | None = None) -> Outcome:
    """Measure one scenario in this process."""
    dataset = load_dataset(scenario.dataset, data_dir=data_dir, seed=scenario.seed)
    dtype = getattr(torch, scenario.precision)
    stream = partial(
        dataset.stream, batch_size=scenario.batch_size, seed=scenario.seed, dtype=dtype, device=scenario.device
    )
    in_memory = scenario.purpose != "input"
    batches = list(stream(count=scenario.minibatches if in_memory else WARM_UP_MINIBATCHES))
    trainer = make_trainer(scenario.method, trainer_options(scenario, dataset))
    try:
        warm_up(trainer, batches[:WARM_UP_MINIBATCHES], scenario.device)
        ends = epoch_ends(scenario, len(dataset.train_y))
        ready: Iterable[Iterable[Batch]] = [stream(count=scenario.minibatches)]
        if in_memory:
            ready = [trainer.prepare(batches[start:end]) for start, end in itertools.pairwise([0, *ends])]
        windows: list[Window] = []
        curve: list[CurvePoint] = []
        for end, epoch in zip(ends, ready, strict=True):
            windows.append(time_training(trainer, epoch, scenario.device))
            held_out, reason = held_out_accuracy(trainer, dataset, dtype)
            seconds = sum(window.end - window.start for window in windows)
            curve.append(CurvePoint(end * scenario.batch_size, seconds, held_out))
        return Outcome(
            seconds=seconds,
            lanes=trainer.lanes,
            lane_kind=trainer.lane_kind,
            components=trainer.components,
            effective_parameters=trainer.effective_parameters,
            affiliated_parameters=trainer.affiliated_parameters,
            accuracy=held_out,
            accuracy_reason=reason,
            learning_curve=curve if scenario.purpose == "accuracy" and held_out is not None else None,
            losses=trainer.losses,
            flops_per_minibatch=trainer.flops(batches[0]),
            task_seconds=task_seconds(scenario, dataset, batches),
            peak_memory_bytes=whole_life_peak_bytes(),
            notes=list(trainer.notes),
            window_start_seconds=windows[0].start,
            window_end_seconds=windows[-1].end,
            gpu_uuids=gpu_uuids(trainer, scenario.replicas),
        )
    finally:
        trainer.close()


def epoch_ends(scenario: Scenario, training_instances: int) -> list[int]:
    """Return the mini-batches after which training pauses to be looked at, the last being N.

    A network that is trained to the end is looked at when every instance has been seen once more; any other only then.
    """
    ends = [scenario.minibatches]
    if scenario.purpose == "accuracy":
        epochs = scenario.minibatches * scenario.batch_size // training_instances
        full = {epoch_end(epoch, training_instances, scenario.batch_size) for epoch in range(1, epochs + 1)}
        ends = sorted(full | set(ends))
    return ends


def epoch_end(epoch: int, training_instances: int, batch_size: int) -> int:
    """Return the mini-batches after which every instance was seen so many times: the last may hold some of the next."""
    return -(-epoch * training_instances // batch_size)


def held_out_accuracy(trainer: Trainer, dataset: Dataset, dtype: torch.dtype) -> tuple[float | None, str]:
    """Return the held-out accuracy reached, or None and why."""
    found = accuracy_over(trainer, dataset.held_out(dtype=dtype, device=trainer.device))
    return found, "" if found is not None else f"{dataset.name} data has random labels: there is nothing to learn"


def task_seconds(scenario: Scenario, dataset: Dataset, batches: list[Batch]) -> list[float] | None:
    """Return the median seconds of a task of each component, where tasks run one by one (AL's serial engine)."""
    one_by_one = (scenario.method, scenario.engine, scenario.purpose) == ("al", "serial", "time")
    if not one_by_one or scenario.device != "cpu":  # on a device a task's span holds the gaps between its launches
        return None
    trainer = make_trainer(scenario.method, trainer_options(scenario, dataset, trace=True))
    try:
        trainer.train(batches[:TRACED_MINIBATCHES])
        return trainer.task_seconds()
    finally:
        trainer.close()


def gpu_uuids(trainer: Trainer, replicas: int = 1) -> list[str]:
    """Return the CUDA devices that a trainer runs on: one, or one for each of its processes or of its threads, each
    `replicas` times.
    """
    if trainer.device != "cuda":
        return []
    lanes = trainer.lanes if trainer.lane_kind in ("process", "gpu") else 1
    count = min(lanes * replicas, torch.cuda.device_count())
    return [str(torch.cuda.get_device_properties(i).uuid) for i in range(count)]
