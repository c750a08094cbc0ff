"""Augmentation as data: what each name stands for, and what is refused."""

import math

import pytest

from albench.data.augmentation import AUGMENTATIONS, UNCHANGED, Augmentation, augmentation_named
from albench.errors import UsageError


def test_the_names_stand_for_code_and_paper():
    code, paper = augmentation_named("cifar"), augmentation_named("jitter")
    assert (code.crop_padding, code.flip, code.brightness, code.contrast) == (4, True, 63.0, (0.2, 1.8))
    assert code.standardise
    assert paper == Augmentation(crop_padding=2)
    assert augmentation_named(None) is augmentation_named("none") is UNCHANGED
    assert Augmentation() == UNCHANGED
    assert len(AUGMENTATIONS) == 3


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("crop_padding", -1, "crop padding is -1"),
        ("brightness", -0.1, "brightness is -0.1"),
        ("brightness", math.nan, "brightness is nan"),
        ("contrast", (1.8, 0.2), "the smaller one first"),
        ("contrast", (-1.0, 0.2), "give two factors"),
    ],
)
def test_what_cannot_be_drawn_is_refused(field, value, words):
    with pytest.raises(UsageError, match=words):
        Augmentation(**{field: value})
