"""MNIST and Fashion-MNIST: read from torchvision's layout, and what is said when that is damaged."""

import pytest
import torch

from albench.data import load_dataset
from albench.errors import UsageError
from tests.data.files import write_mnist

SETS = pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])


@SETS
def test_both_are_read_from_torchvisions_layout(tmp_path, monkeypatch, name, folder):
    raw = write_mnist(tmp_path, folder=folder)
    mnist = load_dataset(name, data_dir=tmp_path)
    assert mnist.name == name
    assert mnist.instance_shape == (1, 28, 28)
    assert mnist.in_features == 784
    assert mnist.stored_train_x.dtype == torch.uint8
    pixels = (raw / "train-images-idx3-ubyte").read_bytes()[16:]
    assert mnist.stored_train_x.numpy().tobytes() == pixels
    numbers = mnist.stored_train_x.to(torch.float32) / 255.0
    assert torch.equal(mnist.train_x, numbers - numbers.mean(0)), "to the bit what it was in the first records"
    assert mnist.held_out_y.tolist() == list((raw / "t10k-labels-idx1-ubyte").read_bytes()[8:])
    monkeypatch.setenv("ALBENCH_DATA_DIR", str(tmp_path))
    assert torch.equal(load_dataset(name).train_x, mnist.train_x)


def truncate(raw):
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])


def empty(raw):
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"")


def remove(raw):
    (raw / "t10k-labels-idx1-ubyte").unlink()


@SETS
@pytest.mark.parametrize(
    ("damage", "words"), [(truncate, "corrupt"), (empty, "corrupt"), (remove, "not in")], ids=lambda v: str(v)[:20]
)
def test_damaged_files_are_refused_with_the_remedy(tmp_path, name, folder, damage, words):
    damage(write_mnist(tmp_path, folder=folder))
    with pytest.raises(UsageError, match=words) as caught:
        load_dataset(name, data_dir=tmp_path)
    assert f"{folder}(r'{tmp_path}', download=True)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"labels": 7}, {"magic": 1234}, {"classes": 11}], ids=["labels missing", "wrong magic", "wrong labels"]
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, options):
    write_mnist(tmp_path, **options)
    with pytest.raises(UsageError, match="corrupt"):
        load_dataset("mnist", data_dir=tmp_path)


def test_missing_directories_say_what_to_give(tmp_path, monkeypatch):
    monkeypatch.delenv("ALBENCH_DATA_DIR", raising=False)
    with pytest.raises(UsageError, match="--data-dir DIR or set ALBENCH_DATA_DIR"):
        load_dataset("mnist")
    with pytest.raises(UsageError, match="does not exist"):
        load_dataset("mnist", data_dir=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="not in .*FashionMNIST/raw: fetch it with"):
        load_dataset("fashion-mnist", data_dir=tmp_path)
