"""Training run: what follows from a recipe and its data, before anything is trained.

An epoch ends with the mini-batch in which the last of its instances is trained on, so that E epochs are ⌈E·n/B⌉
mini-batches, as many as the authors' code runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from albench.data.dataset import Dataset
from albench.engines.batch import Batch
from albench.errors import UsageError
from albench.harness.case import epoch_end, trainer_options
from albench.harness.recipe import Recipe
from albench.methods.trainer import TrainerOptions


class TrainingRun:
    """A recipe on its data set."""

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        """Raises `UsageError` where the data are not what the network takes, or fewer than a mini-batch."""
        self.recipe = recipe
        self.dataset = dataset
        self.instances = len(dataset.train_y)
        """n, training instances: an epoch."""
        if recipe.batch_size > self.instances:
            raise UsageError(
                f"batch size is {recipe.batch_size}: {dataset.name} has {self.instances} training instances, give at "
                "most so many"
            )
        self.minibatches = self.end_of(recipe.epochs)
        """N, of all epochs."""
        self.scenario = recipe.scenario(self.minibatches)
        self.options: TrainerOptions = trainer_options(
            self.scenario, dataset, **recipe.training_options(self.minibatches)
        )
        self.settings: dict[str, Any] = recipe.settings() | {"training_instances": self.instances}
        """All that decides how the run ends, as plain data."""

    def end_of(self, epoch: int) -> int:
        """Return the mini-batches after which every instance was seen so many times."""
        return epoch_end(epoch, self.instances, self.recipe.batch_size)

    def rate_at(self, minibatch: int) -> float:
        """Return the base rate of mini-batch k, counted from 0."""
        rate = self.options.learning_rate
        return rate(minibatch) if callable(rate) else rate

    def stream(self, start: int, count: int) -> Iterator[Batch]:
        """Yield mini-batches from number `start` on, on the device of the network."""
        return self.dataset.stream(
            batch_size=self.scenario.batch_size,
            count=count,
            seed=self.scenario.seed,
            dtype=self.options.dtype,
            device=self.options.device,
            start=start,
        )
