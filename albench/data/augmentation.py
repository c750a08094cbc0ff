"""Augmentation: what is changed at random in training images, as plain data that is checked where it is made.

Paper and code disagree on it. The paper's text says "2-pixel jittering" and nothing else; the authors' code pads by
four pixels, mirrors, and changes brightness and contrast. Both are here by name. What each field does to a mini-batch
is in `albench.data.images`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from albench.errors import UsageError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Changes to images ``[C, H, W]``, in the order of the fields; an image's draws are its own."""

    crop_padding: int = 0
    """Zeros around the image, in pixels, of which a crop of the image's own size is taken: it moves by up to so many
    pixels each way. They are put round the normalised image, where zero is the training images' mean."""
    flip: bool = False
    """Whether every second image, by chance, is mirrored left to right."""
    brightness: float = 0.0
    """The most that is added to all pixels of an image or taken from them, where pixels span 1 from black to white."""
    contrast: tuple[float, float] | None = None
    """From where to where the factor lies by which each pixel's distance to its channel's mean is multiplied."""
    standardise: bool = False
    """Whether each image is brought to mean 0 and standard deviation 1, held-out images too."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.crop_padding < 0:
            raise UsageError(f"crop padding is {self.crop_padding}: give a whole number of pixels, 0 for none")
        if not 0 <= self.brightness < math.inf:
            raise UsageError(f"brightness is {self.brightness}: give a number of at least 0, 0 for none")
        if self.contrast is not None and not 0 <= self.contrast[0] < self.contrast[1] < math.inf:
            raise UsageError(f"contrast is {self.contrast}: give two factors, the smaller one first, or none")


UNCHANGED = Augmentation()

AUGMENTATIONS: dict[str, Augmentation] = {
    "none": UNCHANGED,
    # The authors' code for CIFAR-10 and CIFAR-100. Its brightness is up to ±63 because it was written for pixels up to
    # 255 and is applied to pixels up to 1; standardising takes the constant away again, up to rounding.
    "cifar": Augmentation(crop_padding=4, flip=True, brightness=63.0, contrast=(0.2, 1.8), standardise=True),
    # The paper's text: "2-pixel jittering".
    "jitter": Augmentation(crop_padding=2),
}


def augmentation_named(name: str | None) -> Augmentation:
    """Return the augmentation called `name`, None meaning "none"; an unknown name is a `UsageError`."""
    if name is None:
        return UNCHANGED
    if name not in AUGMENTATIONS:
        raise unknown_name("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]
