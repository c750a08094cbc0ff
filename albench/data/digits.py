"""Digits: 1,797 handwritten digits of 8 × 8 pixels from scikit-learn's own files. Real data, nothing to download.

Every fifth instance of a fixed shuffle is held out: 1,437 to train on, 360 to test on, the same for every seed.
Pixels are scaled to [0, 1] and centred by the training instances' mean.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from rich.console import Console
from sklearn.datasets import load_digits

from albench.data.dataset import Dataset

SPLIT_SEED = 0
BRIGHTEST = 16.0
"""The largest pixel value in the files."""


@lru_cache(maxsize=1)
def load(name: str, *, data_dir: Path | None, seed: int, console: Console | None) -> Dataset:  # noqa: ARG001 - all alike
    """Return the digits, x ``[n, 64]``; neither directory nor seed matters here."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SPLIT_SEED))
    pixels = torch.from_numpy(x).to(torch.float32)[order] / BRIGHTEST
    labels = torch.from_numpy(y).to(torch.int64)[order]
    held_out = torch.arange(len(pixels)) % 5 == 0
    mean = pixels[~held_out].mean(0)
    return Dataset(
        name=name,
        stored_train_x=pixels[~held_out] - mean,
        train_y=labels[~held_out],
        stored_held_out_x=pixels[held_out] - mean,
        held_out_y=labels[held_out],
        classes=10,
    )
