"""The data sets: what they hold, the order in which it comes, and what is said when it is not there."""

import struct

import numpy as np
import pytest
import torch

from albench.data import DATASETS, load_dataset
from albench.errors import UsageError


def test_digits_are_split_for_good():
    digits = load_dataset("digits")
    assert digits.train_x.shape == (1437, 64)
    assert digits.held_out_x.shape == (360, 64)
    assert DATASETS["digits"].training_instances == len(digits.train_x), "a report tells epochs without loading them"
    assert digits.train_x.mean(0).abs().max() < 1e-6, "centred by the training instances"
    assert digits.train_x.abs().max() <= 1
    assert set(digits.train_y.tolist()) == set(digits.held_out_y.tolist()) == set(range(10))
    again = load_dataset("digits", seed=5)
    assert torch.equal(again.held_out_x, digits.held_out_x), "the seed does not move the split"
    mean = torch.zeros(64)
    train = {tuple(row.tolist()) for row in (digits.train_x + mean)}
    held_out = [tuple(row.tolist()) for row in digits.held_out_x]
    assert not [row for row in held_out if row in train]


def test_the_stream_shows_every_instance_once_an_epoch_in_an_order_of_the_seed():
    digits = load_dataset("digits")
    batches = digits.batches(batch_size=100, count=29, seed=3)
    assert {len(x) for x, _ in batches} == {100}, "an epoch's end falls inside a mini-batch, which stays whole"
    rows = torch.cat([x for x, _ in batches])
    for start in (0, 1437):
        epoch = rows[start : start + 1437]
        assert torch.equal(epoch.sum(0).round(decimals=2), digits.train_x.sum(0).round(decimals=2)) or torch.allclose(
            epoch.sum(0), digits.train_x.sum(0), atol=1e-3
        )
        assert len({tuple(row.tolist()) for row in epoch}) == len({tuple(row.tolist()) for row in digits.train_x})
    again = digits.batches(batch_size=100, count=29, seed=3)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(batches, again, strict=True))
    other = digits.batches(batch_size=100, count=1, seed=4)
    assert not torch.equal(batches[0][0], other[0][0])


def test_a_longer_run_begins_like_a_shorter_one():
    digits = load_dataset("digits")
    short, long = (digits.batches(batch_size=16, count=count, seed=0) for count in (5, 200))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(short, long, strict=False))


def test_batches_larger_than_the_data_set():
    assert len(load_dataset("digits").batches(batch_size=3000, count=2, seed=0)[1][0]) == 3000


def test_synthetic_depends_on_its_seed():
    one, other = load_dataset("synthetic", seed=1), load_dataset("synthetic", seed=2)
    assert torch.equal(one.train_x, load_dataset("synthetic", seed=1).train_x)
    assert not torch.equal(one.train_x, other.train_x)
    assert one.held_out_x is None


def write_mnist(root, *, images=20, labels=None, magic=2051):
    """Write tiny files in MNIST's own format."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        pixels = generator.integers(0, 256, (images, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", magic, images, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        classes = generator.integers(0, 10, labels or images, dtype=np.uint8)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, len(classes)) + classes.tobytes())
    return raw


def test_mnist_is_read_from_torchvisions_layout(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    mnist = load_dataset("mnist", data_dir=tmp_path)
    assert mnist.train_x.shape == (20, 1, 28, 28)
    assert mnist.in_features == 784
    assert mnist.train_x.mean(0).abs().max() < 1e-6
    monkeypatch.setenv("ALBENCH_DATA_DIR", str(tmp_path))
    assert torch.equal(load_dataset("mnist").train_x, mnist.train_x)


def truncate(raw):
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])


def empty(raw):
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"")


def remove(raw):
    (raw / "t10k-labels-idx1-ubyte").unlink()


@pytest.mark.parametrize(
    ("damage", "words"), [(truncate, "corrupt"), (empty, "corrupt"), (remove, "not in")], ids=lambda v: str(v)[:20]
)
def test_damaged_mnist_is_refused_with_the_remedy(tmp_path, damage, words):
    damage(write_mnist(tmp_path))
    with pytest.raises(UsageError, match=words) as caught:
        load_dataset("mnist", data_dir=tmp_path)
    assert "download=True" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"labels": 7}, {"magic": 1234}], ids=["labels missing", "wrong magic"])
def test_mnist_that_does_not_fit_together_is_refused(tmp_path, options):
    write_mnist(tmp_path, **options)
    with pytest.raises(UsageError, match="corrupt"):
        load_dataset("mnist", data_dir=tmp_path)


def test_missing_directories_say_what_to_give(tmp_path, monkeypatch):
    monkeypatch.delenv("ALBENCH_DATA_DIR", raising=False)
    with pytest.raises(UsageError, match="--data-dir DIR or set ALBENCH_DATA_DIR"):
        load_dataset("mnist")
    with pytest.raises(UsageError, match="does not exist"):
        load_dataset("mnist", data_dir=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        load_dataset("mnst")
