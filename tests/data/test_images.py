"""Each change to images against its formula, image by image, and the draws that decide it."""

import dataclasses

import numpy as np
import pytest
import torch

from albench.data import images
from albench.data.augmentation import AUGMENTATIONS, Augmentation

CODE = AUGMENTATIONS["cifar"]


def pictures(batch=6, *, shape=(3, 8, 7), dtype=torch.float64):
    return torch.rand((batch, *shape), generator=torch.Generator().manual_seed(1), dtype=dtype) - 0.5


def cropped(image, down, right, padding):
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    return padded[:, down : down + image.shape[1], right : right + image.shape[2]]


def contrasted(image, factor):
    mean = image.mean((1, 2), keepdims=True)
    return (image - mean) * factor + mean


def standardised(image):
    return (image - image.mean()) / max(image.std(), 1 / np.sqrt(image.size))


def test_a_crop_is_a_window_of_the_padded_image():
    x = pictures(9)
    down, right = torch.arange(9), torch.arange(9).flip(0)
    expected = np.stack([cropped(x[i].numpy(), i, 8 - i, 4) for i in range(9)])
    assert np.array_equal(images.crop(x, down, right, 4).numpy(), expected)
    centre = torch.full((9,), 4)
    assert torch.equal(images.crop(x, centre, centre, 4), x), "the middle window is the image itself"


def test_a_crop_moves_what_is_in_the_image():
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 3, 5] = 1
    moved = images.crop(x, torch.tensor([0]), torch.tensor([4]), 2)
    assert moved.nonzero().tolist() == [[0, 0, 5, 3]], "two down and two to the left"


def test_only_mirrored_images_are_flipped():
    x = pictures(4)
    mirrored = torch.tensor([True, False, False, True])
    expected = np.stack([x[i].numpy()[:, :, ::-1] if mirrored[i] else x[i].numpy() for i in range(4)])
    assert np.array_equal(images.flip(x, mirrored).numpy(), expected)


def test_brightness_is_a_constant_for_each_image():
    x, added = pictures(3), torch.tensor([-63.0, 0.0, 0.25], dtype=torch.float64)
    expected = np.stack([x[i].numpy() + float(added[i]) for i in range(3)])
    assert np.array_equal(images.brighten(x, added).numpy(), expected)


def test_contrast_stretches_each_channel_about_its_own_mean():
    x, factor = pictures(3), torch.tensor([0.2, 1.0, 1.8], dtype=torch.float64)
    expected = np.stack([contrasted(x[i].numpy(), float(factor[i])) for i in range(3)])
    assert np.allclose(images.change_contrast(x, factor).numpy(), expected, atol=1e-14)
    assert torch.allclose(images.change_contrast(x, factor).mean((2, 3)), x.mean((2, 3)), atol=1e-14)


def test_standardised_images_have_mean_zero_and_deviation_one():
    x = pictures(3)
    expected = np.stack([standardised(x[i].numpy()) for i in range(3)])
    assert np.allclose(images.standardise(x).numpy(), expected, atol=1e-13)
    assert torch.allclose(images.standardise(x).std((1, 2, 3), correction=0), torch.ones(3, dtype=torch.float64))


def test_an_almost_plain_image_is_not_blown_up():
    plain = torch.full((1, 3, 8, 7), 0.3, dtype=torch.float64)
    assert images.standardise(plain).abs().max() < 1e-12
    faint = plain + 1e-6 * pictures(1)
    assert np.allclose(images.standardise(faint)[0], (faint - faint.mean())[0] * np.sqrt(3 * 8 * 7), atol=1e-12)


def test_the_draws_reach_their_bounds_and_not_beyond():
    many = images.draw(CODE, batch_size=20_000, seed=0, minibatch=0)
    for offsets in (many.down, many.right):
        counts = torch.bincount(offsets)
        assert len(counts) == 9, "from 0 to twice the padding"
        assert counts.min() > 0.9 * 20_000 / 9
    assert 0.48 < many.mirrored.double().mean() < 0.52
    assert -63 <= many.brightness.min() < -62 < 62 < many.brightness.max() < 63
    assert 0.2 <= many.contrast.min() < 0.21 < 1.79 < many.contrast.max() < 1.8
    assert many.brightness.mean().abs() < 1
    assert (many.contrast.mean() - 1).abs() < 0.01
    drawn = torch.stack([field.double() for field in many])
    correlation = torch.corrcoef(drawn) - torch.eye(5)
    assert correlation.abs().max() < 0.03, "each has a chance of its own"


def test_the_draws_depend_on_seed_and_mini_batch_alone():
    before = torch.get_rng_state()
    one = images.draw(CODE, batch_size=32, seed=7, minibatch=11)
    torch.rand(100)
    again = images.draw(CODE, batch_size=32, seed=7, minibatch=11)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    for seed, minibatch in ((7, 12), (8, 11), (11, 7), (71, 1)):
        other = images.draw(CODE, batch_size=32, seed=seed, minibatch=minibatch)
        assert not torch.equal(one.contrast, other.contrast)
    torch.set_rng_state(before)
    images.draw(CODE, batch_size=32, seed=7, minibatch=11)
    assert torch.equal(torch.get_rng_state(), before), "torch-wide randomness is left as it was"


def test_what_is_switched_off_leaves_the_other_draws_as_they_were():
    without = dataclasses.replace(CODE, crop_padding=0, brightness=0.0)
    full, less = (images.draw(a, batch_size=32, seed=7, minibatch=11) for a in (CODE, without))
    assert torch.equal(full.mirrored, less.mirrored)
    assert torch.equal(full.contrast, less.contrast)


def test_copies_of_one_image_come_out_different():
    copies = pictures(1).expand(64, -1, -1, -1)
    seen = images.augment(copies, AUGMENTATIONS["jitter"], seed=0, minibatch=0)
    assert 15 < len({tuple(image.flatten().tolist()) for image in seen}) <= 25, "of 5 × 5 places"
    seen = images.augment(copies, CODE, seed=0, minibatch=0)
    assert len({tuple(image.flatten().tolist()) for image in seen}) == 64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_changes_come_in_the_order_of_the_authors_code(dtype):
    x = pictures(16, dtype=dtype)
    draws = images.draw(CODE, batch_size=16, seed=3, minibatch=5)
    expected = []
    for i, (down, right, mirrored, brightness, contrast) in enumerate(zip(*(d.tolist() for d in draws), strict=True)):
        image = cropped(x[i].double().numpy(), down, right, 4)
        image = image[:, :, ::-1] if mirrored else image
        expected.append(standardised(contrasted(image + brightness, contrast)))
    seen = images.augment(x, CODE, seed=3, minibatch=5)
    assert seen.dtype == dtype
    # 63 beside 0.1 costs float32 digits, in the authors' code too.
    assert np.allclose(seen.numpy(), np.stack(expected), atol=1e-9 if dtype == torch.float64 else 1e-3)


def test_standardising_takes_the_brightness_away():
    x, dim = pictures(16), dataclasses.replace(CODE, brightness=0.0)
    bright, without = (images.augment(x, a, seed=3, minibatch=5) for a in (CODE, dim))
    assert torch.allclose(bright, without, atol=1e-9)


def test_nothing_is_done_but_what_is_asked_for():
    x = pictures(2)
    assert images.augment(x, Augmentation(), seed=0, minibatch=0) is x
    alone = images.augment(x, Augmentation(standardise=True), seed=0, minibatch=0)
    assert torch.equal(alone, images.standardise(x))


def test_a_large_mean_is_taken_some_pixels_at_a_time(monkeypatch):
    x = torch.randint(256, (50, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    at_once = images.Normalisation.of(x).mean
    monkeypatch.setattr(images, "MEAN_BYTES", 50 * 4 * 10)
    in_parts = images.Normalisation.of(x).mean
    assert torch.allclose(at_once, in_parts, atol=1e-7)
    assert torch.allclose(in_parts.double(), x.double().mean(0) / 255, atol=1e-6)
