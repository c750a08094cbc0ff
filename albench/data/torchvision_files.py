"""Torchvision's files: data sets that somebody has downloaded, read by torchvision's own readers.

A directory that has them is given with ``--data-dir``. What is not there, or not whole, is told in one line with the
command that fetches it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albench.data.dataset import Dataset
from albench.data.images import Normalisation
from albench.errors import UsageError, message_of

DATA_DIR_VARIABLE = "ALBENCH_DATA_DIR"
"""Environment variable that says where downloaded data sets lie."""

BROKEN = (RuntimeError, ValueError, AssertionError, OSError, EOFError, LookupError, TypeError, pickle.UnpicklingError)
"""What torchvision's readers raise where a file isn't what it should be."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A data set that torchvision can fetch and read."""

    name: str
    """As it is called here."""
    reader: Any
    """Torchvision's class."""
    folder: str
    """What the class puts everything into, inside the directory that it is given."""
    files: tuple[str, ...]
    """What must be there, inside that folder."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    classes: int


def load_published(published: Published, data_dir: Path | None) -> Dataset:
    """Return a published data set, x uint8 ``[n, C, H, W]``; what hinders it is a `UsageError` with the remedy."""
    root = data_directory(published.name, data_dir, dict(os.environ))
    splits = []
    for train in (True, False):
        try:
            split = published.reader(str(root), train=train, download=False)
            images, labels = channels_first(split.data), torch.as_tensor(split.targets, dtype=torch.int64)
        except BROKEN as error:
            raise _unreadable(published, root, message_of(error)) from None
        _check(published, root, images, labels)
        splits.append((images, labels))
    (train_x, train_y), (held_out_x, held_out_y) = splits
    return Dataset(
        name=published.name,
        stored_train_x=train_x,
        train_y=train_y,
        stored_held_out_x=held_out_x,
        held_out_y=held_out_y,
        classes=published.classes,
        normalisation=Normalisation.of(train_x),
    )


def channels_first(images: Any) -> Tensor:
    """Return images ``[n, H, W]`` or ``[n, H, W, C]`` as a tensor ``[n, C, H, W]``."""
    tensor = torch.as_tensor(images)
    tensor = tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)
    return tensor.contiguous()


def data_directory(name: str, data_dir: Path | None, environment: dict[str, str]) -> Path:
    """Return where data set `name` lies, or raise `UsageError` that says how to tell."""
    chosen = data_dir if data_dir is not None else environment.get(DATA_DIR_VARIABLE)
    if not chosen:
        raise UsageError(f"data set {name} needs its files: give --data-dir DIR or set {DATA_DIR_VARIABLE}")
    directory = Path(chosen)
    if not directory.is_dir():
        raise UsageError(f"data directory {directory} does not exist: give one that holds {name}")
    return directory


def _check(published: Published, root: Path, images: Tensor, labels: Tensor) -> None:
    """Refuse files that were read but hold something else, or do not belong to each other."""
    if len(images) != len(labels) or images.shape[1:] != published.image_shape:
        found = f"{len(images)} images of {list(images.shape[1:])}, {len(labels)} labels"
        raise _unreadable(published, root, found)
    if not 0 <= int(labels.min()) <= int(labels.max()) < published.classes:
        found = f"labels {int(labels.min())} … {int(labels.max())} where 0 … {published.classes - 1} should be"
        raise _unreadable(published, root, found)


def _unreadable(published: Published, root: Path, found: str) -> UsageError:
    """Return the error for files that are missing, or that are there and hold `found`."""
    reader = published.reader.__name__
    fetch = f"python -c \"from torchvision.datasets import {reader}; {reader}(r'{root}', download=True)\""
    if not _all_there(root / published.folder, published.files):
        return UsageError(f"{published.name} is not in {root / published.folder}: fetch it with {fetch}")
    remove = root / Path(published.folder).parts[0]
    return UsageError(f"{published.name} in {root} is corrupt ({found}): remove {remove} and run {fetch}")


def _all_there(folder: Path, files: Iterable[str]) -> bool:
    return all((folder / name).is_file() for name in files)
