"""CIFAR-10 and CIFAR-100: 50,000 colour images to train on and 10,000 held out, 32 × 32 pixels, in 10 or 100 classes.

Pixels are scaled to [0, 1] and centred by the training images' mean, pixel by pixel, as in the authors' code.

The published files are pickles, and a pickle runs what its writer liked. Torchvision compares the MD5 of every file,
the one with the names of the classes too, with that of the published one before it unpickles it. Another file with the
MD5 of a given one cannot be made to this day (what is broken in MD5 is the making of pairs), so what is unpickled is
what was published in 2009. The tests hold torchvision to that.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from rich.console import Console
from torchvision.datasets import CIFAR10, CIFAR100

from albench.data.dataset import Dataset
from albench.data.torchvision_files import Published, load_published

READERS = {"cifar10": (CIFAR10, 10), "cifar100": (CIFAR100, 100)}


def _published(name: str, reader: Any, classes: int) -> Published:
    return Published(
        name=name,
        reader=reader,
        folder=reader.base_folder,
        files=(*(file for file, _md5 in (*reader.train_list, *reader.test_list)), reader.meta["filename"]),
        image_shape=(3, 32, 32),
        classes=classes,
    )


def load(name: str, *, data_dir: Path | None, seed: int, console: Console | None) -> Dataset:  # noqa: ARG001 - all alike
    """Return the data set from ``data_dir/cifar-10-batches-py`` or ``cifar-100-python``, x ``[n, 3, 32, 32]``."""
    with warnings.catch_warnings():
        # NumPy 2.4.0 to 2.4.4 deprecate how these old pickles spell uint8; later ones take it back.
        warnings.filterwarnings("ignore", r"dtype\(\): align should be passed")
        return load_published(_published(name, *READERS[name]), data_dir)
