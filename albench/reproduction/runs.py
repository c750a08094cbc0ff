"""Runs: which recipe a planned run trains, and what is known of it from what it left on disk.

A run has a folder of its own, ``runs/NAME``, with the log and the checkpoint of `albench.harness.training`. Whether it
is finished, and what it came to, is read from there and from nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from albench.analysis.class_distance import ClassDistances
from albench.errors import UsageError
from albench.harness import epoch_log
from albench.harness.epoch_log import TrainingLog
from albench.harness.recipe import Recipe
from albench.harness.recipe_file import recipe_of
from albench.reproduction.comparison import Reached
from albench.reproduction.plan import RunPlan
from albench.reproduction.published import Quantity
from albench.whole_file import write_whole

RUNS = "runs"
DISTANCES_FILE = "class-distances.json"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a user wants otherwise than the recipes have it; None: as they do."""

    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    method_rates: Mapping[str, float] = field(default_factory=dict)
    """By method, a base rate of its own."""
    device: str | None = None
    datasets: Mapping[str, str] = field(default_factory=dict)
    """By the data set of the recipe, what stands in for it, such as "folder:PATH"."""


AS_THE_RECIPE = Choices()


def directory_of(out: Path, plan: RunPlan) -> Path:
    """Return the folder of a run."""
    return out / RUNS / plan.name


def recipe_for(plan: RunPlan, choices: Choices = AS_THE_RECIPE) -> Recipe:
    """Return what a run trains, and how. Raises `UsageError` for choices that train nothing."""
    # On a CPU AL takes a lane a core, which BP does with its intra-op threads; the bits are those of one lane.
    on_lanes = plan.method == "al" and choices.device == "cpu"
    return recipe_of(
        plan.recipe,
        method=plan.method,
        engine="threads" if on_lanes else None,
        seed=plan.seed,
        hidden_layers=None if plan.components is None else 2 * plan.components,
        epochs=choices.epochs,
        batch_size=choices.batch_size,
        learning_rate=choices.method_rates.get(plan.method, choices.learning_rate),
        device=choices.device,
        dataset=choices.datasets.get(plan.dataset),
    )


def recipe_in(out: Path, plan: RunPlan, choices: Choices) -> Recipe:
    """Return what a run trains, on as many lanes as it began with: a machine of more cores would choose others."""
    recipe = recipe_for(plan, choices)
    log = log_of(directory_of(out, plan))
    if log is None or recipe.lanes is not None:
        return recipe
    return dataclasses.replace(recipe, lanes=log.header.scenario.lanes)


def changes_of(plan: RunPlan, recipe: Recipe) -> tuple[str, ...]:
    """Say in what a recipe is other than the paper's; fewer epochs are told as what they are, a run that is partial."""
    own = recipe_for(plan)
    found = [
        f"{name.replace('_', ' ')} {getattr(recipe, name)}, not {getattr(own, name)}"
        for name in ("batch_size", "learning_rate", "dataset")
        if getattr(recipe, name) != getattr(own, name)
    ]
    if recipe.epochs > own.epochs:
        found.append(f"{recipe.epochs} epochs, not {own.epochs}")
    return tuple(found)


def log_of(directory: Path) -> TrainingLog | None:
    """Return the log of a run; None where it has not begun."""
    return epoch_log.read(directory) if (directory / epoch_log.FILE_NAME).exists() else None


def epochs_done(directory: Path) -> int:
    """Return the epochs that a run has trained."""
    log = log_of(directory)
    return log.epochs[-1].epoch if log is not None and log.epochs else 0


def reached(plan: RunPlan, recipe: Recipe, directory: Path) -> Reached | None:
    """Return what a run has come to; None where it has not begun."""
    log = log_of(directory)
    if log is None:
        return None
    last = log.epochs[-1] if log.epochs else None
    values: dict[tuple[Quantity, int | None], float] = {}
    if last is not None:
        if last.held_out_accuracy is not None:
            values["test accuracy", None] = last.held_out_accuracy
        if last.training_accuracy is not None:
            values["training accuracy", None] = last.training_accuracy
        for i, losses in enumerate(last.losses, 1):
            if "associated" in losses:
                loss = losses["associated"]
                values["associated loss", i] = math.nan if loss is None else loss
        if (distances := read_distances(directory, last.epoch)) is not None:
            values["inter-class distance", None] = distances.inter
            values["intra-class distance", None] = distances.intra
            values["ratio", None] = distances.ratio
    return Reached(
        plan=plan,
        epochs=last.epoch if last else 0,
        planned_epochs=recipe.epochs,
        recipe_epochs=recipe_for(plan).epochs,
        seconds=last.seconds if last else 0.0,
        machine=_machine(log, recipe.device),
        changes=changes_of(plan, recipe),
        values=values,
        learning_curve=tuple(log.learning_curve),
    )


def _machine(log: TrainingLog, device: str) -> str:
    """Return where a run was trained; if it went on elsewhere, that too."""
    environments = [log.header.environment, *(one.environment for one in log.resumed)]
    return "; then ".join(dict.fromkeys(_place(one, device) for one in environments))


def _place(environment: Mapping[str, Any], device: str) -> str:
    gpus = [str(gpu.get("name")) for gpu in environment.get("gpus") or ()]
    processor = gpus[0] if device == "cuda" and gpus else environment.get("cpu") or "an unknown machine"
    return f"{processor}, torch {(environment.get('packages') or {}).get('torch', 'of an unknown version')}"


def seconds_per_epoch(directories: Sequence[Path]) -> float | None:
    """Return the mean training seconds of an epoch over the runs in these folders; None where none was trained."""
    lasts = [log.epochs[-1] for one in directories if (log := log_of(one)) is not None and log.epochs]
    epochs = sum(last.epoch for last in lasts)
    return sum(last.seconds for last in lasts) / epochs if epochs else None


def write_distances(directory: Path, epoch: int, distances: ClassDistances) -> None:
    """Keep the class distances of a run's last layer after an epoch: they take minutes to find again."""
    found = {"epoch": epoch, "inter": distances.inter, "intra": distances.intra}
    write_whole(directory / DISTANCES_FILE, json.dumps(found) + "\n")


def read_distances(directory: Path, epoch: int) -> ClassDistances | None:
    """Return the class distances that were kept after this epoch; None where there are none."""
    file = directory / DISTANCES_FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["epoch"] != epoch:
            return None
        return ClassDistances(inter=float(found["inter"]), intra=float(found["intra"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is damaged: remove it, and it is found anew") from None
