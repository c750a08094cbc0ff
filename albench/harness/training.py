"""Training: one network, from the first mini-batch to the last epoch, for a person who watches."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from albench.data import load_dataset
from albench.engines.batch import Batch
from albench.harness.case import held_out_accuracy, trainer_options
from albench.harness.recipe import Recipe
from albench.machine import launched_processes
from albench.methods import make_trainer


def train(recipe: Recipe, *, data_dir: Path | None, console: Console, plain: bool) -> float | None:
    """Train, print a line an epoch, and return the last held-out accuracy (None where the data has none)."""
    if os.environ.get("RANK", "0") != "0" and launched_processes():
        console = Console(quiet=True)  # rank 0 speaks for all
    dataset = load_dataset(recipe.dataset, data_dir=data_dir, seed=recipe.seed)
    epoch_minibatches = dataset.epoch_minibatches(recipe.batch_size)
    scenario = recipe.scenario(epoch_minibatches * recipe.epochs)
    options = trainer_options(scenario, dataset)
    trainer = make_trainer(scenario.method, options)
    for note in trainer.notes:
        console.print(note, markup=False)
    stream = dataset.stream(
        batch_size=scenario.batch_size,
        count=scenario.minibatches,
        seed=scenario.seed,
        dtype=options.dtype,
        device=options.device,
    )
    reached: float | None = None
    total_seconds = 0.0
    with Progress(console=console, transient=True, disable=plain or not console.is_terminal) as bar:
        task = bar.add_task(scenario.describe(), total=scenario.minibatches)

        def counted(count: int) -> Iterator[Batch]:
            for batch in itertools.islice(stream, count):
                yield batch
                bar.advance(task)

        for epoch in range(1, recipe.epochs + 1):
            start = time.perf_counter()
            trainer.train(counted(epoch_minibatches))
            total_seconds += time.perf_counter() - start
            reached, reason = held_out_accuracy(trainer, dataset, options.dtype)
            result = f"held-out accuracy {reached:.2%}" if reached is not None else reason
            losses = "; ".join(
                ", ".join(f"{name} {value:.3g}" for name, value in one.items()) for one in trainer.losses
            )
            console.print(
                f"epoch {epoch}/{recipe.epochs}  {total_seconds:.1f} s  {result}  losses {losses}",
                markup=False,
                soft_wrap=True,
            )
    trainer.close()
    return reached
