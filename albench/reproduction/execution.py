"""Execution: train the runs of a table one after the other, after saying how long that will take.

A run that is finished is not trained again, one that was stopped goes on from its checkpoint. How long the rest takes
is not guessed from sizes: an epoch takes what it took in runs of the same series, and where there is none yet, a few
mini-batches are trained for real, on the clock, and thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from albench.data import load_dataset
from albench.harness import checkpoint, training
from albench.harness.case import time_training, warm_up
from albench.harness.keeping import Place
from albench.harness.progress import duration
from albench.harness.recipe import Recipe
from albench.harness.training_run import TrainingRun
from albench.methods import make_trainer
from albench.reproduction.plan import Kind, RunPlan
from albench.reproduction.runs import (
    Choices,
    directory_of,
    epochs_done,
    log_of,
    read_distances,
    recipe_for,
    recipe_in,
    seconds_per_epoch,
)

PROBE_WARM_UP, PROBE_MINIBATCHES = 2, 6
"""Mini-batches that are trained to find the pace of a run that nothing is known of, on the clock and before."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is left to train."""

    plans: tuple[RunPlan, ...]
    """The runs that are not finished."""
    finished: int
    seconds: float
    """Of training, all of them together."""
    measured: bool
    """Whether a few mini-batches had to be trained to tell."""

    def words(self) -> str:
        """Say it in one sentence."""
        total = len(self.plans) + self.finished
        if not self.plans:
            return f"All runs are finished ({total}): nothing is left to train."
        how = "from a few mini-batches of each" if self.measured else "as fast as what is there"
        return (
            f"Runs: {total} ({self.finished} finished, {len(self.plans)} to train), about {duration(self.seconds)} of "
            f"training on this machine ({how}), and evaluation beside it."
        )


def refuse_others(plans: Sequence[RunPlan], choices: Choices, out: Path) -> None:
    """Raise `UsageError` if a folder holds a run of other settings: now, and not when its turn comes in the night."""
    for plan in plans:
        directory = directory_of(out, plan)
        log = log_of(directory)
        if log is not None:
            asked = recipe_in(out, plan, choices).settings()
            checkpoint.refuse_another(log.header.settings, asked, directory=directory)


def outlook(
    plans: Sequence[RunPlan], choices: Choices, out: Path, *, data_dir: Path | None, kind: Kind = "accuracy"
) -> Outlook:
    """Return what is left to train, and how long it takes.

    `kind`: of the table or figure. Where that looks into the trained network, a run is not finished that was stopped
    between the last line of its log and the checkpoint, or that came without one.
    """
    left, seconds, measured = [], 0.0, False
    paces: dict[str, float] = {}
    for plan in plans:
        recipe = recipe_for(plan, choices)
        done = epochs_done(directory_of(out, plan))
        if done >= recipe.epochs and _network_wanted(kind, directory_of(out, plan), done):
            done = min(done, checkpoint.epochs_kept(directory_of(out, plan)))
        if done >= recipe.epochs:
            continue
        left.append(plan)
        if plan.series not in paces:
            siblings = [directory_of(out, one) for one in plans if one.series == plan.series]
            pace = seconds_per_epoch(siblings)
            measured |= pace is None
            paces[plan.series] = probed_seconds_per_epoch(recipe, data_dir=data_dir) if pace is None else pace
        seconds += paces[plan.series] * (recipe.epochs - done)
    return Outlook(plans=tuple(left), finished=len(plans) - len(left), seconds=seconds, measured=measured)


def _network_wanted(kind: Kind, directory: Path, epochs: int) -> bool:
    """Whether more is wanted of a run of so many epochs than lies beside its checkpoint."""
    return kind == "figure" or (kind == "distances" and read_distances(directory, epochs) is None)


def probed_seconds_per_epoch(recipe: Recipe, *, data_dir: Path | None) -> float:
    """Return the training seconds of an epoch as a few mini-batches tell them."""
    dataset = load_dataset(recipe.dataset, data_dir=data_dir, seed=recipe.seed, augmentation=recipe.augmentation)
    run = TrainingRun(recipe, dataset)
    trainer = make_trainer(run.scenario.method, run.options)
    try:
        batches = list(run.stream(0, PROBE_MINIBATCHES))
        warm_up(trainer, batches[:PROBE_WARM_UP], run.options.device)
        window = time_training(trainer, batches, run.options.device)
    finally:
        trainer.close()
    return (window.end - window.start) / PROBE_MINIBATCHES * run.end_of(1)


def train_all(
    plans: Sequence[RunPlan],
    choices: Choices,
    out: Path,
    *,
    data_dir: Path | None,
    console: Console,
    plain: bool,
    command: str,
    after_each: Callable[[], None],
) -> None:
    """Train runs to their end, each in its folder, and call `after_each` after each, so that results are seen early.

    `command`: what was typed, for the logs.
    """
    for number, plan in enumerate(plans, 1):
        directory = directory_of(out, plan)
        directory.mkdir(parents=True, exist_ok=True)
        console.print(f"run {number}/{len(plans)}: {plan.name}", markup=False)
        recipe = recipe_in(out, plan, choices)
        place = Place(directory=directory, resume=True, command=command)
        training.train(recipe, data_dir=data_dir, console=console, plain=plain, place=place)
        after_each()
