"""Data set: training and held-out instances in memory, and the mini-batches that a run trains on.

Mini-batches are cut from an endless stream of shuffled epochs, so each has exactly B instances and an epoch's end may
fall inside one (as in the authors' code). The order depends on the seed and nothing else: every method that is
compared sees the same mini-batches in the same order, and a stream may begin at any of them.

Images are stored as bytes and become numbers a mini-batch at a time (`albench.data.images`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from albench.data.augmentation import UNCHANGED, Augmentation
from albench.data.images import Normalisation, augment, finish
from albench.errors import UsageError

CHUNK = 1024
"""Instances that are made ready at a time where a whole set is gone through."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Instances in memory: x ``[n, …]`` as they are stored, y ``[n]`` int64 in [0, classes)."""

    name: str
    stored_train_x: Tensor
    """float32 that a network may see as it is, or uint8 images ``[n, C, H, W]`` with a normalisation."""
    train_y: Tensor
    stored_held_out_x: Tensor | None
    """None where an accuracy would mean nothing."""
    held_out_y: Tensor | None
    classes: int
    normalisation: Normalisation | None = None
    """What makes numbers of stored images; None: they are numbers."""
    augmentation: Augmentation = UNCHANGED
    """What chance changes in training images."""

    def __post_init__(self) -> None:
        """Refuse to change what are no images."""
        if self.augmentation != UNCHANGED and len(self.instance_shape) != 3:
            raise UsageError(
                f"data set {self.name} has instances of shape {list(self.instance_shape)}: "
                "augmentation is for images, give 'none'"
            )

    @property
    def instance_shape(self) -> tuple[int, ...]:
        """The shape of one instance: channels, height and width of an image."""
        return tuple(self.stored_train_x.shape[1:])

    @property
    def in_features(self) -> int:
        """Numbers in one instance."""
        return math.prod(self.instance_shape)

    @property
    def train_x(self) -> Tensor:
        """All training instances as a network sees them, not augmented, float32: all at once, for small sets."""
        return torch.cat([x for x, _ in self.training()])

    @property
    def held_out_x(self) -> Tensor | None:
        """All held-out instances as a network sees them, float32: all at once, for small sets; None: there are none."""
        return None if self.stored_held_out_x is None else torch.cat([x for x, _ in self.held_out()])

    def stream(
        self,
        *,
        batch_size: int,
        count: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `count` mini-batches of `batch_size` instances on a device, in the order that `seed` decides.

        `start`: the first mini-batch's index k. What comes from there on is, to the bit, what a stream from 0 yields.
        """
        stored, labels = self._resident(self.stored_train_x, dtype, device), self.train_y.to(device)
        normalise = self.normalisation.to(device) if self.normalisation is not None else None
        orders = shuffled_rows(len(labels), batch_size=batch_size, seed=seed, start=start)
        for k, order in enumerate(itertools.islice(orders, count), start):
            rows = order.to(device)
            x = stored[rows]
            if normalise is not None:
                x = normalise(x).to(dtype)
            yield augment(x, self.augmentation, seed=seed, minibatch=k), labels[rows]

    def batches(
        self,
        *,
        batch_size: int,
        count: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        start: int = 0,
    ) -> list[tuple[Tensor, Tensor]]:
        """Return the mini-batches of `stream` in memory, so that a timed window reads nothing."""
        return list(self.stream(batch_size=batch_size, count=count, seed=seed, dtype=dtype, device=device, start=start))

    def training(
        self, *, dtype: torch.dtype = torch.float32, device: str = "cpu", chunk: int = CHUNK
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all training instances, `chunk` at a time, in the set's order and not augmented."""
        return self._chunks(self.stored_train_x, self.train_y, dtype=dtype, device=device, chunk=chunk)

    def held_out(
        self, *, dtype: torch.dtype = torch.float32, device: str = "cpu", chunk: int = CHUNK
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all held-out instances, `chunk` at a time, in the set's order; nothing where there are none."""
        if self.stored_held_out_x is None or self.held_out_y is None:
            return iter(())
        return self._chunks(self.stored_held_out_x, self.held_out_y, dtype=dtype, device=device, chunk=chunk)

    def _resident(self, stored: Tensor, dtype: torch.dtype, device: str) -> Tensor:
        """Return stored instances on a device: numbers in the type that is asked for, images as they are."""
        return stored.to(device=device, dtype=dtype) if self.normalisation is None else stored.to(device)

    def _chunks(
        self, stored: Tensor, labels: Tensor, *, dtype: torch.dtype, device: str, chunk: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        normalise = self.normalisation.to(device) if self.normalisation is not None else None
        for start in range(0, len(labels), chunk):
            rows = slice(start, start + chunk)
            x = self._resident(stored[rows], dtype, device)
            if normalise is not None:
                x = normalise(x).to(dtype)
            yield finish(x, self.augmentation), labels[rows].to(device)


def shuffled_rows(instances: int, *, batch_size: int, seed: int, start: int = 0) -> Iterator[Tensor]:
    """Yield which instances make up mini-batch `start`, the next one, … without end, int64 ``[batch_size]`` each."""
    generator = torch.Generator().manual_seed(seed)
    epochs, inside = divmod(start * batch_size, instances)
    for _ in range(epochs):  # drawn all the same: the generator's state is what the next epoch depends on
        torch.randperm(instances, generator=generator)
    order = torch.randperm(instances, generator=generator)[inside:]
    while True:
        while len(order) < batch_size:  # an epoch's end may fall inside a mini-batch
            order = torch.cat([order, torch.randperm(instances, generator=generator)])
        yield order[:batch_size]
        order = order[batch_size:]
