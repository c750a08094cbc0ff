"""Training: one network, from the first mini-batch to the last epoch, for a person who watches.

    warm up ─► train an epoch ─► accuracies ─► log, checkpoint ─► train an epoch ─► …
               └─ on the clock

In a place of its own (`albench.harness.keeping`) a run that was stopped, however it was, goes on from the last
checkpoint as if it had not been: the same mini-batches, the same bits of weights and optimizer state, and so the same
losses and accuracies. Engines that stack or compile what they run do so up to rounding, as everywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from albench.data import load_dataset
from albench.engines.batch import Batch
from albench.harness.case import WARM_UP_MINIBATCHES, held_out_accuracy, warm_up
from albench.harness.epoch_log import Epoch
from albench.harness.keeping import Keeper, Place, now
from albench.harness.recipe import Recipe
from albench.harness.training_progress import TrainingProgress
from albench.harness.training_run import TrainingRun
from albench.machine import launched_processes
from albench.methods import make_trainer
from albench.methods.trainer import Trainer, accuracy_over


def train(
    recipe: Recipe, *, data_dir: Path | None, console: Console, plain: bool, place: Place | None = None
) -> float | None:
    """Train, print a line an epoch, and return the last held-out accuracy (None where the data has none).

    Raises `UsageError` where the place holds another run, or one and `resume` was not asked for.
    """
    if os.environ.get("RANK", "0") != "0" and launched_processes():
        console = Console(quiet=True)  # rank 0 speaks for all
    dataset = load_dataset(
        recipe.dataset,
        data_dir=data_dir,
        seed=recipe.seed,
        augmentation=recipe.augmentation,
        console=None if plain else console,
    )
    run = TrainingRun(recipe, dataset)
    keeper = Keeper(place, run) if place is not None else None
    if keeper is not None and keeper.finished:
        console.print(f"epoch {recipe.epochs}/{recipe.epochs} is done: nothing is left to train", markup=False)
        return keeper.last.held_out_accuracy if keeper.last is not None else None
    trainer = make_trainer(run.scenario.method, run.options)
    try:
        if keeper is not None:
            keeper.restore(trainer)
        for note in [*trainer.notes, *(keeper.notes if keeper is not None else ())]:
            console.print(note, markup=False, soft_wrap=True)
        with keeper.writing(trainer) if keeper is not None else contextlib.nullcontext():
            return _train(run, trainer, keeper, console=console, plain=plain)
    finally:
        trainer.close()


def _train(run: TrainingRun, trainer: Trainer, keeper: Keeper | None, *, console: Console, plain: bool) -> float | None:
    """Train the epochs that are left, and return the last held-out accuracy."""
    saved = keeper.saved if keeper is not None else None
    first, done, seconds = (1, 0, 0.0) if saved is None else (saved.epoch + 1, saved.minibatches, saved.seconds)
    left = run.minibatches - done
    # Undone afterwards: what happens only once, such as compiling, is not the first epoch's to pay.
    warm_up(trainer, list(run.stream(done, min(WARM_UP_MINIBATCHES, left))), run.options.device)
    stream = run.stream(done, left)
    reached: float | None = None
    with TrainingProgress(
        console,
        plain=plain,
        description=run.scenario.describe(),
        epochs=run.recipe.epochs,
        total=run.minibatches,
        done=done,
    ) as progress:
        for epoch in range(first, run.recipe.epochs + 1):
            count = run.end_of(epoch) - done
            start = time.perf_counter()
            train_epoch(trainer, progress.counted(itertools.islice(stream, count)), run.options.device)
            end = time.perf_counter()
            done += count
            seconds += end - start
            found = _found(run, trainer, whole=keeper is not None)
            line = Epoch(
                epoch=epoch,
                minibatches=done,
                instances=done * run.scenario.batch_size,
                seconds=seconds,
                samples_per_second=count * run.scenario.batch_size / (end - start),
                learning_rate=run.rate_at(done - 1),
                losses=trainer.losses,
                evaluation_seconds=time.perf_counter() - end,
                ended_at=now(),
                **found,
            )
            reached = line.held_out_accuracy
            console.print(_said(line, run.recipe.epochs), markup=False, soft_wrap=True)
            if keeper is not None:
                keeper.keep(line, trainer)
    return reached


def train_epoch(trainer: Trainer, batches: Iterable[Batch], device: str) -> None:
    """Train on mini-batches, and return when the last update is done: a device still has it before it then."""
    trainer.train(batches)
    if device == "cuda":
        torch.cuda.synchronize()


def _found(run: TrainingRun, trainer: Trainer, *, whole: bool) -> dict[str, Any]:
    """Return the accuracies that training has come to; on the training set where the `whole` of it is wanted."""
    held_out, reason = held_out_accuracy(trainer, run.dataset, run.options.dtype)
    instances = run.dataset.training(dtype=run.options.dtype, device=trainer.device)
    return {
        "held_out_accuracy": held_out,
        "accuracy_reason": reason,
        "training_accuracy": accuracy_over(trainer, instances) if whole else None,
    }


def _said(line: Epoch, epochs: int) -> str:
    """Return an epoch in words."""
    parts = [f"epoch {line.epoch}/{epochs}", f"{line.seconds:.1f} s"]
    found = line.held_out_accuracy
    parts.append(f"held-out accuracy {found:.2%}" if found is not None else line.accuracy_reason)
    if line.training_accuracy is not None:
        parts.append(f"training accuracy {line.training_accuracy:.2%}")
    losses = [", ".join(f"{name} {_number(value)}" for name, value in one.items()) for one in line.losses]
    parts.append(f"losses {'; '.join(losses)}")
    return "  ".join(parts)


def _number(value: float | None) -> str:
    return "nan" if value is None else f"{value:.3g}"
