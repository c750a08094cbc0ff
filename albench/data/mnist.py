"""MNIST and Fashion-MNIST: 60,000 grey images to train on and 10,000 held out, 28 × 28 pixels, in 10 classes.

Pixels are scaled to [0, 1] and centred by the training instances' mean, pixel by pixel, as in the authors' code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from torchvision.datasets import MNIST, FashionMNIST

from albench.data.dataset import Dataset
from albench.data.torchvision_files import Published, load_published

READERS = {"mnist": MNIST, "fashion-mnist": FashionMNIST}


def _published(name: str, reader: Any) -> Published:
    return Published(
        name=name,
        reader=reader,
        folder=f"{reader.__name__}/raw",
        files=tuple(Path(archive).stem for archive, _md5 in reader.resources),
        image_shape=(1, 28, 28),
        classes=10,
    )


def load(name: str, *, data_dir: Path | None, seed: int, console: Console | None) -> Dataset:  # noqa: ARG001 - all alike
    """Return the data set from ``data_dir/MNIST/raw`` or ``data_dir/FashionMNIST/raw``, x ``[n, 1, 28, 28]``."""
    return load_published(_published(name, READERS[name]), data_dir)
