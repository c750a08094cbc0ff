"""A data set's mini-batches: the order in which they come, where a stream may begin, and what they take."""

import pytest
import torch

from albench.data import DATASETS, load_dataset
from albench.data.augmentation import AUGMENTATIONS
from tests.data.files import images_in_memory


def test_digits_are_split_for_good():
    digits = load_dataset("digits")
    assert digits.train_x.shape == (1437, 64)
    assert digits.held_out_x.shape == (360, 64)
    assert digits.instance_shape == (64,)
    assert DATASETS["digits"].training_instances == len(digits.train_x), "a report tells epochs without loading them"
    assert digits.train_x.mean(0).abs().max() < 1e-6, "centred by the training instances"
    assert digits.train_x.abs().max() <= 1
    assert set(digits.train_y.tolist()) == set(digits.held_out_y.tolist()) == set(range(10))
    again = load_dataset("digits", seed=5)
    assert torch.equal(again.held_out_x, digits.held_out_x), "the seed does not move the split"
    train = {tuple(row.tolist()) for row in digits.train_x}
    held_out = [tuple(row.tolist()) for row in digits.held_out_x]
    assert not [row for row in held_out if row in train]


def test_the_stream_shows_every_instance_once_an_epoch_in_an_order_of_the_seed():
    digits = load_dataset("digits")
    batches = digits.batches(batch_size=100, count=29, seed=3)
    assert {len(x) for x, _ in batches} == {100}, "an epoch's end falls inside a mini-batch, which stays whole"
    rows = torch.cat([x for x, _ in batches])
    for start in (0, 1437):
        epoch = rows[start : start + 1437]
        assert torch.allclose(epoch.sum(0), digits.train_x.sum(0), atol=1e-3)
        assert len({tuple(row.tolist()) for row in epoch}) == len({tuple(row.tolist()) for row in digits.train_x})
    again = digits.batches(batch_size=100, count=29, seed=3)
    assert_same(batches, again)
    other = digits.batches(batch_size=100, count=1, seed=4)
    assert not torch.equal(batches[0][0], other[0][0])


def assert_same(batches, others):
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(batches, others, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_the_stream_stays_what_the_first_records_saw(name, dtype):
    """Their accuracies are compared with those of today: the order was cut from whole permutations like this."""
    dataset = load_dataset(name)
    generator = torch.Generator().manual_seed(3)
    x, y = dataset.stored_train_x.to(dtype), dataset.train_y
    order = torch.cat([torch.randperm(len(x), generator=generator) for _ in range(3)])
    expected = [(x[rows], y[rows]) for rows in order[: 20 * 200].split(200)]
    assert_same(expected, dataset.batches(batch_size=200, count=20, seed=3, dtype=dtype))


def test_a_longer_run_begins_like_a_shorter_one():
    digits = load_dataset("digits")
    short, long = (digits.batches(batch_size=16, count=count, seed=0) for count in (5, 200))
    assert_same(short, long[:5])


def test_batches_larger_than_the_data_set():
    assert len(load_dataset("digits").batches(batch_size=3000, count=2, seed=0)[1][0]) == 3000


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("batch_size", [8, 37, 50], ids=["inside an epoch", "an epoch", "more than an epoch"])
def test_a_stream_that_goes_on_shows_what_the_whole_one_shows(augmentation, batch_size):
    """A run that was resumed is the same run: order and augmentation of mini-batch k depend on (seed, k) alone."""
    images = images_in_memory(augmentation=AUGMENTATIONS[augmentation])
    whole = images.batches(batch_size=batch_size, count=15, seed=2)
    for start in range(15):
        rest = images.batches(batch_size=batch_size, count=15 - start, seed=2, start=start)
        assert_same(whole[start:], rest)


def test_synthetic_depends_on_its_seed():
    one, other = load_dataset("synthetic", seed=1), load_dataset("synthetic", seed=2)
    assert torch.equal(one.train_x, load_dataset("synthetic", seed=1).train_x)
    assert not torch.equal(one.train_x, other.train_x)
    assert one.held_out_x is None
    assert list(one.held_out()) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_become_numbers_as_when_the_whole_set_was_numbers(dtype):
    """To the bit: accuracies of earlier records are compared with those of today."""
    images = images_in_memory(shape=(1, 28, 28), instances=300)
    numbers = images.stored_train_x.to(torch.float32) / 255.0
    mean = numbers.mean(0)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(5))
    expected = [((numbers - mean).to(dtype)[rows], images.train_y[rows]) for rows in order.split(50)]
    assert_same(expected, images.batches(batch_size=50, count=6, seed=5, dtype=dtype))
    assert torch.equal(images.train_x, numbers - mean)
    assert torch.equal(images.held_out_x, images.stored_held_out_x.to(torch.float32) / 255.0 - mean)


@pytest.mark.parametrize("whose", ["training", "held_out"])
def test_whole_sets_come_in_chunks_in_their_own_order(whose):
    images = images_in_memory(augmentation=AUGMENTATIONS["cifar"])
    stored, labels = {
        "training": (images.stored_train_x, images.train_y),
        "held_out": (images.stored_held_out_x, images.held_out_y),
    }[whose]
    chunks = list(getattr(images, whose)(chunk=4, dtype=torch.float64))
    assert {len(x) for x, _ in chunks[:-1]} == {4}
    x, y = (torch.cat(part) for part in zip(*chunks, strict=True))
    assert torch.equal(y, labels)
    assert x.dtype == torch.float64
    numbers = stored.double() / 255 - images.normalisation.mean
    expected = (numbers - numbers.mean((1, 2, 3), keepdim=True)) / numbers.std((1, 2, 3), correction=0, keepdim=True)
    assert torch.allclose(x, expected, atol=1e-5), "standardised, and neither cropped nor mirrored"


def test_the_set_stays_bytes_where_mini_batches_are_made(monkeypatch):
    """In float32 a set that fills a quarter of a device would fill it."""
    images = images_in_memory()
    kept = []
    monkeypatch.setattr(type(images), "_resident", remembered(type(images)._resident, kept))
    images.batches(batch_size=8, count=2, seed=0, dtype=torch.float64)
    assert [(x.dtype, len(x)) for x in kept] == [(torch.uint8, 37)]


def remembered(method, results):
    """Return a method that notes its results."""

    def noting(*arguments):
        results.append(method(*arguments))
        return results[-1]

    return noting


@pytest.mark.cuda
@pytest.mark.parametrize("augmentation", ["none", "jitter"])
def test_a_device_sees_the_bits_that_the_cpu_sees(augmentation):
    images = images_in_memory(augmentation=AUGMENTATIONS[augmentation])
    here, there = (images.batches(batch_size=8, count=10, seed=1, device=device) for device in ("cpu", "cuda"))
    assert_same(here, [(x.cpu(), y.cpu()) for x, y in there])


@pytest.mark.cuda
def test_a_device_sees_the_crops_that_the_cpu_sees():
    """Sums over an image are taken in another order there: a tolerance, but the same draws."""
    images = images_in_memory(augmentation=AUGMENTATIONS["cifar"])
    here, there = (
        images.batches(batch_size=8, count=10, seed=1, dtype=torch.float64, device=device) for device in ("cpu", "cuda")
    )
    assert all(torch.allclose(x, other.cpu(), atol=1e-9) for (x, _), (other, _) in zip(here, there, strict=True))
