"""Images: from bytes to what a network sees, a whole mini-batch at a time and on the device that holds it.

    uint8 --normalise--> float --crop--> --flip--> --brighten--> --change contrast--> --standardise--> network
                               '------------- training images only ------------'

A set of images stays uint8 on the device, a quarter of what float32 would take, and every mini-batch is made anew.
What is drawn for mini-batch k depends on (seed, k) alone: a run that goes on at mini-batch k sees what the whole run
would have seen. The draws are made on the CPU and then moved, so that a GPU cuts the same crops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from albench.data.augmentation import Augmentation
from albench.seeding import seeded_generator

BRIGHTEST = 255.0
"""The pixel value that becomes 1."""

MEAN_BYTES = 2**28
"""A mean is taken over so many bytes of float32 at a time: MNIST at once, larger sets some pixels after others."""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Pixels as bytes to float32 numbers: over `brightest`, minus `mean`."""

    mean: Tensor
    """Mean of the training images over `brightest`, pixel by pixel, float32 ``[C, H, W]``."""
    brightest: Tensor
    """A single float32 number on the mean's device: over a number of Python's, CUDA multiplies by the reciprocal,
    which differs in the last bit from what a CPU does."""

    @classmethod
    def of(cls, images: Tensor) -> Normalisation:
        """Return the normalisation that training images ``[n, C, H, W]`` ask for."""
        brightest = torch.tensor(BRIGHTEST)
        pixels = images.flatten(1)
        together = max(1, MEAN_BYTES // (torch.float32.itemsize * len(pixels)))
        means = [part.to(torch.float32).div_(brightest).mean(0) for part in torch.split(pixels, together, dim=1)]
        return cls(mean=torch.cat(means).view(images.shape[1:]), brightest=brightest)

    def to(self, device: str) -> Normalisation:
        """Return the same on a device."""
        return Normalisation(mean=self.mean.to(device), brightest=self.brightest.to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """Return images ``[B, C, H, W]`` of bytes as float32 numbers."""
        return images.to(torch.float32).div_(self.brightest).sub_(self.mean)


class Draws(NamedTuple):
    """What chance decided for the B images of a mini-batch."""

    down: Tensor
    """Rows of the padded image above the crop, int64 ``[B]``, from 0 to twice the padding."""
    right: Tensor
    """Columns of the padded image left of the crop, likewise."""
    mirrored: Tensor
    """bool ``[B]``."""
    brightness: Tensor
    """What is added, float64 ``[B]``."""
    contrast: Tensor
    """The factor, float64 ``[B]``."""


def draw(augmentation: Augmentation, *, batch_size: int, seed: int, minibatch: int, device: str = "cpu") -> Draws:
    """Return the draws for mini-batch number `minibatch`; a field that is off takes nothing from the others' chance."""
    generator = seeded_generator("augmentation", seed, minibatch)
    chance = torch.rand(len(Draws._fields), batch_size, generator=generator, dtype=torch.float64)  # in [0, 1)
    low, high = augmentation.contrast or (1.0, 1.0)
    places = 2 * augmentation.crop_padding + 1
    drawn = torch.stack(
        [
            (chance[0] * places).floor(),
            (chance[1] * places).floor(),
            (chance[2] < 0.5).to(torch.float64),
            (2 * chance[3] - 1) * augmentation.brightness,
            low + (high - low) * chance[4],
        ]
    ).to(device)  # in one piece: each copy to a device costs a launch
    return Draws(drawn[0].long(), drawn[1].long(), drawn[2].bool(), drawn[3], drawn[4])


def augment(images: Tensor, augmentation: Augmentation, *, seed: int, minibatch: int) -> Tensor:
    """Return normalised training images ``[B, C, H, W]`` as mini-batch number `minibatch` shows them."""
    changes = (augmentation.crop_padding, augmentation.flip, augmentation.brightness, augmentation.contrast)
    if not any(changes):
        return finish(images, augmentation)
    draws = draw(augmentation, batch_size=len(images), seed=seed, minibatch=minibatch, device=str(images.device))
    if augmentation.crop_padding:
        images = crop(images, draws.down, draws.right, augmentation.crop_padding)
    if augmentation.flip:
        images = flip(images, draws.mirrored)
    if augmentation.brightness:
        images = brighten(images, draws.brightness)
    if augmentation.contrast:
        images = change_contrast(images, draws.contrast)
    return finish(images, augmentation)


def finish(images: Tensor, augmentation: Augmentation) -> Tensor:
    """Return normalised images ``[B, C, H, W]`` with what is done to training and held-out images alike."""
    return standardise(images) if augmentation.standardise else images


def crop(images: Tensor, down: Tensor, right: Tensor, padding: int) -> Tensor:
    """Return of each image ``[B, C, H, W]``, with `padding` zeros around it, the crop that begins at (down, right)."""
    batch, channels, height, width = images.shape
    padded = F.pad(images, (padding, padding, padding, padding))
    rows_BH = down[:, None] + torch.arange(height, device=images.device)
    columns_BW = right[:, None] + torch.arange(width, device=images.device)
    places = rows_BH[:, :, None] * (width + 2 * padding) + columns_BW[:, None, :]
    places = places.view(batch, 1, height * width).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, places).view(images.shape)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Return images ``[B, C, H, W]``, those left to right that are `mirrored` ``[B]``."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def brighten(images: Tensor, brightness: Tensor) -> Tensor:
    """Return images ``[B, C, H, W]`` plus a constant each ``[B]``."""
    return images + brightness.to(images.dtype)[:, None, None, None]


def change_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Return (x - m)·factor + m of images ``[B, C, H, W]``, m the mean of a channel of an image, factor ``[B]``."""
    mean = images.mean((2, 3), keepdim=True)
    return (images - mean) * factor.to(images.dtype)[:, None, None, None] + mean


def standardise(images: Tensor) -> Tensor:
    """Return (x - m) / max(σ, 1/√N) of images ``[B, C, H, W]``, m and σ over the N = C·H·W numbers of an image.

    The bound keeps an image of one colour from a division by zero (TensorFlow's ``per_image_standardization``).
    """
    every = (1, 2, 3)
    centred = images - images.mean(every, keepdim=True)
    deviation = centred.square().mean(every, keepdim=True).sqrt()
    return centred / deviation.clamp(min=1 / math.sqrt(images[0].numel()))
