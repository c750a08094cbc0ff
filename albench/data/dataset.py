"""Data set: training and held-out instances in memory, and the mini-batches that a run trains on.

Mini-batches are cut from an endless stream of shuffled epochs, so each has exactly B instances and an epoch's end may
fall inside one (as in the authors' code). The order depends on the seed and nothing else: every method that is
compared sees the same mini-batches in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from albench.errors import UsageError

DATA_DIR_VARIABLE = "ALBENCH_DATA_DIR"
"""Environment variable that says where downloaded data sets lie."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Instances in memory: x ``[n, …]`` float32, y ``[n]`` int64 in [0, classes)."""

    name: str
    train_x: Tensor
    train_y: Tensor
    held_out_x: Tensor | None
    """None where an accuracy would mean nothing."""
    held_out_y: Tensor | None
    classes: int

    @property
    def in_features(self) -> int:
        """Numbers in one instance."""
        return math.prod(self.train_x.shape[1:])

    def stream(
        self, *, batch_size: int, count: int, seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `count` mini-batches of `batch_size` instances on a device, in the order that `seed` decides."""
        generator = torch.Generator().manual_seed(seed)
        x, y = self.train_x.to(device=device, dtype=dtype), self.train_y.to(device)
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(count):
            while len(order) < batch_size:  # an epoch's end may fall inside a mini-batch
                order = torch.cat([order, torch.randperm(len(x), generator=generator)])
            rows, order = order[:batch_size].to(device), order[batch_size:]
            yield x[rows], y[rows]

    def batches(
        self, *, batch_size: int, count: int, seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the mini-batches of `stream` in memory, so that a timed window reads nothing."""
        return list(self.stream(batch_size=batch_size, count=count, seed=seed, dtype=dtype, device=device))

    def epoch_minibatches(self, batch_size: int) -> int:
        """Return the mini-batches after which every training instance was seen once."""
        return -(-len(self.train_x) // batch_size)


def require_finite(dataset: Dataset) -> Dataset:
    """Return the data set if every number in it is finite and every label in range, else raise `UsageError`."""
    for x in (dataset.train_x, dataset.held_out_x):
        if x is not None and not bool(torch.isfinite(x).all()):
            raise UsageError(f"data set {dataset.name} holds numbers that are not finite: clean it")
    for y in (dataset.train_y, dataset.held_out_y):
        if y is not None and len(y) and not 0 <= int(y.min()) <= int(y.max()) < dataset.classes:
            raise UsageError(
                f"data set {dataset.name} holds labels {int(y.min())} … {int(y.max())}: "
                f"labels must lie in 0 … {dataset.classes - 1}"
            )
    return dataset


def data_directory(name: str, data_dir: Path | None, environment: dict[str, str]) -> Path:
    """Return where data set `name` lies, or raise `UsageError` that says how to tell."""
    chosen = data_dir if data_dir is not None else environment.get(DATA_DIR_VARIABLE)
    if not chosen:
        raise UsageError(f"data set {name} needs its files: give --data-dir DIR or set {DATA_DIR_VARIABLE}")
    directory = Path(chosen)
    if not directory.is_dir():
        raise UsageError(f"data directory {directory} does not exist: give one that holds {name}")
    return directory
