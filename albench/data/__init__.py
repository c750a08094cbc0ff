"""Data sets: where mini-batches come from, one file a data set or a family of them.

A data set is named here without importing torch or its files, so that a wrong name is refused at once; `load_dataset`
imports the one that is asked for. Nothing is downloaded: a benchmark that fetches data while it runs measures
somebody's network.
"""

from __future__ import annotations

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from albench.data.augmentation import Augmentation, augmentation_named
from albench.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from albench.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A data set as the command line knows it."""

    description: str
    """One line: what it holds and where it comes from."""
    module: str
    """The module that loads it: a function ``load(name, *, data_dir, seed, console)``."""
    real: bool
    """Whether an accuracy on it means anything."""
    training_instances: int | None = None
    """How many instances an epoch has, so that a report can tell times in epochs without the data; None: what is drawn
    has no epochs, or only its files tell."""


FOLDER = "folder:"
"""What a name begins with that goes on with a path."""

DATASETS: dict[str, DatasetEntry] = {
    "digits": DatasetEntry(
        description="1,797 handwritten digits of 8 × 8 pixels, bundled with scikit-learn: real, no download",
        module="albench.data.digits",
        real=True,
        training_instances=1437,
    ),
    "mnist": DatasetEntry(
        description="70,000 handwritten digits of 28 × 28 pixels, in torchvision's layout under --data-dir",
        module="albench.data.mnist",
        real=True,
        training_instances=60_000,
    ),
    "fashion-mnist": DatasetEntry(
        description="70,000 pieces of clothing of 28 × 28 pixels, in torchvision's layout under --data-dir",
        module="albench.data.mnist",
        real=True,
        training_instances=60_000,
    ),
    "cifar10": DatasetEntry(
        description="60,000 colour images of 32 × 32 pixels in 10 classes, in torchvision's layout under --data-dir",
        module="albench.data.cifar",
        real=True,
        training_instances=50_000,
    ),
    "cifar100": DatasetEntry(
        description="60,000 colour images of 32 × 32 pixels in 100 classes, in torchvision's layout under --data-dir",
        module="albench.data.cifar",
        real=True,
        training_instances=50_000,
    ),
    "folder:PATH": DatasetEntry(
        description="your own images, all of one size, in PATH/train/CLASS and PATH/test/CLASS",
        module="albench.data.folder",
        real=True,
    ),
    "synthetic": DatasetEntry(
        description="random numbers with random labels: for timing only",
        module="albench.data.synthetic",
        real=False,
    ),
}


def dataset_named(name: str) -> DatasetEntry:
    """Return the data set called `name`; an unknown name is a `UsageError` with the nearest names.

    Whether a folder is there is seen when it is loaded: records name folders of other machines.
    """
    if name.startswith(FOLDER):
        if not name.removeprefix(FOLDER).strip():
            raise UsageError(f"data set {name!r} names no folder: give folder:PATH, with images in PATH/train/CLASS")
        return DATASETS["folder:PATH"]
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    return DATASETS[name]


def load_dataset(
    name: str,
    *,
    data_dir: Path | None = None,
    seed: int = 0,
    augmentation: Augmentation | str | None = None,
    console: Console | None = None,
) -> Dataset:
    """Return the data set called `name`, split into training and held-out instances.

    `data_dir` is where downloaded data sets lie; None stands for the environment variable ALBENCH_DATA_DIR.
    `augmentation`: what chance changes in training images, or a name in `albench.data.augmentation`; None: nothing.
    `console`: where a progress bar may be shown; None: nowhere.
    """
    if not isinstance(augmentation, Augmentation):
        augmentation = augmentation_named(augmentation)
    module = importlib.import_module(dataset_named(name).module)
    dataset: Dataset = module.load(name, data_dir=data_dir, seed=seed, console=console)
    return dataclasses.replace(dataset, augmentation=augmentation)
