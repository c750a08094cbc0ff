"""Metafeatures: what the layers of trained networks make of the held-out instances (Section 5.4 of the paper).

For Table 7 the last layer alone: AL's h_1, BP's scores before the softmax. The paper names no layer, but its numbers
do. Ten sigmoid outputs lie in a cube of side 1 and classes that are told apart near its corners, √2 from each other:
AL's centroids are 0.73 and 1.17 apart there, and BP's, in scores without bounds, 39 and 42. It does not say either
whether the instances are those of the training or of the test set; here they are held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from albench.analysis.class_distance import ClassDistances, class_distances
from albench.data import load_dataset
from albench.errors import UsageError
from albench.harness import checkpoint
from albench.harness.recipe import Recipe
from albench.harness.training_run import TrainingRun
from albench.methods import make_trainer
from albench.methods.hidden import hidden_outputs
from albench.reproduction.plan import RunPlan
from albench.reproduction.runs import (
    Choices,
    directory_of,
    epochs_done,
    read_distances,
    recipe_for,
    write_distances,
)

CHUNK = 256
"""Held-out instances that go through a network at a time: a first convolution makes 32,768 numbers of each."""

Floats = NDArray[np.float32]


def find_distances(plans: Sequence[RunPlan], choices: Choices, out: Path, *, data_dir: Path | None) -> None:
    """Find and keep the class distances of every run that has trained on since they were found last.

    Of a run that was stopped between a line of its log and the checkpoint they are found once it has gone on.
    """
    for plan in plans:
        directory = directory_of(out, plan)
        done = epochs_done(directory)
        if done and read_distances(directory, done) is None and checkpoint.epochs_kept(directory) == done:
            with TrainedNetwork(recipe_for(plan, choices), directory, data_dir=data_dir) as network:
                write_distances(directory, network.epoch, network.distances())


class TrainedNetwork:
    """A network as a run left it, and the held-out instances of its data set; use as a context manager."""

    def __init__(self, recipe: Recipe, directory: Path, *, data_dir: Path | None) -> None:
        """Read the checkpoint of a run. Raises `UsageError` where there is none."""
        saved = checkpoint.read(directory)
        if saved is None:
            raise UsageError(f"{directory} has no checkpoint: train the run first")
        self.epoch = saved.epoch
        run = TrainingRun(recipe, load_dataset(recipe.dataset, data_dir=data_dir, seed=recipe.seed))
        self._dataset, self._dtype = run.dataset, run.options.dtype
        self._trainer = make_trainer(run.scenario.method, run.options)
        self._trainer.load_state_dict(saved.state)
        if self._dataset.held_out_y is None or self._trainer.network is None:
            raise UsageError(f"{directory} is a run on {self._dataset.name} data, of which nothing is held out")
        self.labels = self._dataset.held_out_y.cpu().numpy()
        """``[n]``, of all held-out instances."""

    def __enter__(self) -> TrainedNetwork:
        return self

    def __exit__(self, *_: object) -> None:
        self._trainer.close()

    def distances(self) -> ClassDistances:
        """Return the class distances of the last layer, over all held-out instances."""
        parts = [layers[-1][1].float().cpu().numpy() for _, layers in self._outputs()]
        return class_distances(np.concatenate(parts), self.labels)

    def layers(self, names: Sequence[str], rows: NDArray[np.intp]) -> tuple[Floats, dict[str, Floats]]:
        """Return the input and each layer of these names ``[len(rows), …]`` for held-out instances in rising order.

        Raises `UsageError` for a layer that the network does not have.
        """
        raw: list[Floats] = []
        found: dict[str, list[Floats]] = {name: [] for name in names}
        start = 0
        for x, layers in self._outputs():
            own = rows[(rows >= start) & (rows < start + len(x))] - start
            start += len(x)
            outputs = dict(layers)
            if missing := [name for name in names if name not in outputs]:
                raise UsageError(f"the network has no layer {missing[0]!r}: it has {', '.join(outputs)}")
            raw.append(x.flatten(1)[own].float().cpu().numpy())
            for name in names:
                found[name].append(outputs[name][own].float().cpu().numpy())
        return np.concatenate(raw), {name: np.concatenate(parts) for name, parts in found.items()}

    def _outputs(self) -> Iterator[tuple[torch.Tensor, list[tuple[str, torch.Tensor]]]]:
        """Yield x ``[b, …]`` and the layers' outputs of each chunk of held-out instances, in the set's order."""
        network = self._trainer.network
        assert network is not None
        for x, _ in self._dataset.held_out(dtype=self._dtype, device=self._trainer.device, chunk=CHUNK):
            yield x, hidden_outputs(network, x)
