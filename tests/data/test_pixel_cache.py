"""The pixel cache: it spares decoding, and never shows what the files no longer hold."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from albench.data import folder, load_dataset, pixel_cache
from albench.errors import UsageError
from tests.data.files import write_folder


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a folder of images that is large enough to be kept."""
    monkeypatch.setattr(folder, "MANY", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_folder(tmp_path / "images")
    return tmp_path / "images"


def kept(tmp_path):
    return list((tmp_path / "cache").rglob("*"))


def forbid_reading(monkeypatch):
    def refuse(*_arguments):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folder, "read_pixels", refuse)


def test_pixels_are_decoded_once(monkeypatch, root):
    first = load_dataset(f"folder:{root}")
    forbid_reading(monkeypatch)
    second = load_dataset(f"folder:{root}")
    assert torch.equal(first.stored_train_x, second.stored_train_x)
    assert torch.equal(first.stored_held_out_x, second.stored_held_out_x)
    assert second.instance_shape == first.instance_shape


def test_changed_files_are_read_anew_in_place_of_the_old_ones(tmp_path, root):
    before = load_dataset(f"folder:{root}")
    Image.new("RGB", (6, 5), (1, 2, 3)).save(root / "train" / "ant" / "0000.png")
    after = load_dataset(f"folder:{root}")
    assert after.stored_train_x[0, :, 0, 0].tolist() == [1, 2, 3]
    assert torch.equal(after.stored_train_x[1:], before.stored_train_x[1:])
    (root / "train" / "ant" / "0001.png").unlink()
    assert len(load_dataset(f"folder:{root}").train_y) == 5
    assert len([path for path in kept(tmp_path) if path.is_file()]) == 1


def test_a_file_that_changed_without_growing_is_read_anew(root):
    path = root / "train" / "ant" / "0000.bmp"
    for i, colour in enumerate([(1, 2, 3), (4, 5, 6)]):
        Image.new("RGB", (6, 5), colour).save(path)
        os.utime(path, (i, i))
        assert load_dataset(f"folder:{root}").stored_train_x[0, :, 0, 0].tolist() == list(colour)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x93NUMPY\x01\x00"], ids=["empty", "nonsense", "cut off"])
def test_damaged_entries_are_read_anew(tmp_path, root, damage):
    whole = load_dataset(f"folder:{root}")
    (entry,) = (path for path in kept(tmp_path) if path.is_file())
    entry.write_bytes(damage)
    assert torch.equal(load_dataset(f"folder:{root}").stored_train_x, whole.stored_train_x)
    assert np.load(entry, allow_pickle=False).shape == (12, 3, 5, 6), "and kept whole"


def test_entries_of_another_kind_are_not_taken(tmp_path):
    entry = tmp_path / "entry.npy"
    for wrong in (np.zeros((2, 3, 4, 4)), np.zeros((2, 3), dtype=np.uint8), np.zeros((3, 3, 4, 4), dtype=np.uint8)):
        np.save(entry, wrong)
        assert pixel_cache.recall(entry, 2) is None
    np.save(entry, np.array([{"a": "pickle"}]), allow_pickle=True)
    assert pixel_cache.recall(entry, 1) is None


def test_a_folder_is_read_where_nothing_can_be_kept(tmp_path, monkeypatch, root):
    (tmp_path / "cache").write_text("a file stands where the cache should lie")
    assert load_dataset(f"folder:{root}").classes == 2
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(pixel_cache.Path, "home", nobody)
    assert load_dataset(f"folder:{root}").classes == 2


def nobody():
    raise RuntimeError("could not determine home directory")


def test_what_is_wrong_is_not_kept(tmp_path, root):
    Image.new("RGB", (7, 5)).save(root / "test" / "bee" / "0001.png")
    with pytest.raises(UsageError, match="one size"):
        load_dataset(f"folder:{root}")
    assert kept(tmp_path) == []


def test_small_folders_are_not_kept(tmp_path, monkeypatch, root):
    monkeypatch.setattr(folder, "MANY", 13)
    load_dataset(f"folder:{root}")
    assert kept(tmp_path) == []
