"""CIFAR-10 and CIFAR-100: read from torchvision's layout, and never unpickled where a file is not the published one."""

import pathlib
import pickle

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100

from albench.data import load_dataset
from albench.errors import UsageError
from tests.data.files import write_cifar

SETS = pytest.mark.parametrize(
    ("name", "reader", "classes"), [("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 100)], ids=["cifar10", "cifar100"]
)


@SETS
def test_both_are_read_from_torchvisions_layout(tmp_path, monkeypatch, name, reader, classes):
    contents = write_cifar(tmp_path, reader, monkeypatch)
    cifar = load_dataset(name, data_dir=tmp_path)
    assert (cifar.name, cifar.classes, cifar.instance_shape) == (name, classes, (3, 32, 32))
    assert cifar.stored_train_x.dtype == torch.uint8
    assert cifar.stored_train_x.is_contiguous()
    halves = {
        "train_list": (cifar.stored_train_x, cifar.train_y),
        "test_list": (cifar.stored_held_out_x, cifar.held_out_y),
    }
    for files, (x, y) in halves.items():
        names = [file for file, _ in getattr(reader, files)]
        pixels = np.concatenate([contents[file][0] for file in names])
        assert np.array_equal(x.numpy(), pixels.reshape(-1, 3, 32, 32)), "red, then green, then blue"
        assert y.tolist() == [label for file in names for label in contents[file][1]]
    numbers = cifar.stored_train_x.to(torch.float32) / 255
    assert torch.equal(cifar.train_x, numbers - numbers.mean(0))


class Trap:
    """Pickled, it makes a file when it is unpickled."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return pathlib.Path.touch, (self.witness,)


@pytest.mark.parametrize(
    ("name", "reader", "file"),
    [
        (name, reader, file)
        for name, reader in (("cifar10", CIFAR10), ("cifar100", CIFAR100))
        for file in [*(file for file, _ in (*reader.train_list, *reader.test_list)), reader.meta["filename"]]
    ],
)
def test_a_file_that_is_not_the_published_one_is_never_unpickled(tmp_path, monkeypatch, name, reader, file):
    """A pickle runs what its writer liked; torchvision, of any version, has to look at the MD5 first."""
    write_cifar(tmp_path, reader, monkeypatch)
    witness = tmp_path / "unpickled"
    trap = pickle.dumps(Trap(witness))
    pickle.loads(trap)
    assert witness.exists(), "the trap works"
    witness.unlink()
    (tmp_path / reader.base_folder / file).write_bytes(trap)
    with pytest.raises(UsageError, match=f"{name} in .* is corrupt .* remove .*{reader.base_folder} and run"):
        load_dataset(name, data_dir=tmp_path)
    assert not witness.exists()


@SETS
def test_missing_files_are_told_with_the_command_that_fetches_them(tmp_path, monkeypatch, name, reader, classes):
    with pytest.raises(UsageError, match=f"{name} is not in {tmp_path}/{reader.base_folder}: fetch it with") as caught:
        load_dataset(name, data_dir=tmp_path)
    assert f"{reader.__name__}(r'{tmp_path}', download=True)" in str(caught.value)
    assert "\n" not in str(caught.value)
    write_cifar(tmp_path, reader, monkeypatch)
    (tmp_path / reader.base_folder / reader.meta["filename"]).unlink()
    with pytest.raises(UsageError, match="is not in"):
        load_dataset(name, data_dir=tmp_path)
