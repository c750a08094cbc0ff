"""MNIST: 60,000 handwritten digits to train on and 10,000 held out, 28 × 28 pixels, read by torchvision.

Pixels are scaled to [0, 1] and centred by the training instances' mean, pixel by pixel, as in the authors' code.
Nothing is downloaded: a benchmark that fetches data while it runs measures somebody's network.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torchvision.datasets import MNIST

from albench.data.dataset import Dataset, data_directory, require_finite
from albench.errors import UsageError

BRIGHTEST = 255.0
IMAGE = (28, 28)


def load(*, data_dir: Path | None = None, seed: int = 0) -> Dataset:  # noqa: ARG001 - every data set loads alike
    """Return MNIST from ``data_dir/MNIST/raw``, x ``[n, 1, 28, 28]``."""
    root = data_directory("mnist", data_dir, dict(os.environ))
    how = f"python -c \"from torchvision.datasets import MNIST; MNIST(r'{root}', download=True)\""
    splits = []
    for train in (True, False):
        try:
            split = MNIST(str(root), train=train, download=False)
        except RuntimeError as error:
            if "not found" not in str(error):
                raise UsageError(f"mnist in {root} is corrupt ({error}): remove {root}/MNIST and run {how}") from None
            raise UsageError(f"mnist is not in {root}/MNIST/raw: fetch it with {how}") from None
        except (ValueError, AssertionError, OSError, EOFError, KeyError, TypeError) as error:
            raise UsageError(f"mnist in {root} is corrupt ({error}): remove {root}/MNIST and run {how}") from None
        if len(split.data) != len(split.targets) or split.data.shape[1:] != IMAGE:
            raise UsageError(
                f"mnist in {root} is corrupt ({len(split.data)} images of {list(split.data.shape[1:])}, "
                f"{len(split.targets)} labels): remove {root}/MNIST and run {how}"
            )
        splits.append((split.data.to(torch.float32).unsqueeze(1) / BRIGHTEST, split.targets.to(torch.int64)))
    (train_x, train_y), (held_out_x, held_out_y) = splits
    mean = train_x.mean(0)
    return require_finite(
        Dataset(
            name="mnist",
            train_x=train_x - mean,
            train_y=train_y,
            held_out_x=held_out_x - mean,
            held_out_y=held_out_y,
            classes=10,
        )
    )
