"""Folders of images: what is read, and the one line that says what is wrong with a folder."""

import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from albench.data import folder, load_dataset
from albench.errors import UsageError
from tests.data.files import write_folder


def load(root, **options):
    return load_dataset(f"folder:{root}", **options)


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    written = write_folder(tmp_path, classes=("bee", "ant"), images=3, size=(6, 5))
    images = load(tmp_path)
    assert images.name == f"folder:{tmp_path}"
    assert (images.classes, images.instance_shape) == (2, (3, 5, 6))
    assert images.stored_train_x.dtype == torch.uint8
    for split, x, y in (
        ("train", images.stored_train_x, images.train_y),
        ("test", images.stored_held_out_x, images.held_out_y),
    ):
        pixels = np.concatenate([written[split, name] for name in ("ant", "bee")]).transpose(0, 3, 1, 2)
        assert np.array_equal(x.numpy(), pixels)
        assert y.tolist() == [0, 0, 0, 1, 1, 1]
    numbers = images.stored_train_x.to(torch.float32) / 255
    assert torch.equal(images.train_x, numbers - numbers.mean(0))


def test_a_folder_can_be_augmented_and_streamed(tmp_path):
    write_folder(tmp_path, size=(8, 8))
    x, y = next(load(tmp_path, augmentation="cifar").stream(batch_size=4, count=1, seed=0))
    assert (x.shape, y.shape) == ((4, 3, 8, 8), (4,))
    assert x.mean((1, 2, 3)).abs().max() < 1e-4


def test_paths_may_be_relative_or_at_home(tmp_path, monkeypatch):
    write_folder(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    assert load(tmp_path.name).classes == 2
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert load(f"~/{tmp_path.name}").classes == 2


def test_grey_images_have_one_channel(tmp_path):
    written = write_folder(tmp_path, mode="L")
    images = load(tmp_path)
    assert images.instance_shape == (1, 5, 6)
    assert np.array_equal(images.stored_train_x[:3, 0].numpy(), written["train", "ant"])


def test_one_coloured_image_makes_all_coloured(tmp_path):
    written = write_folder(tmp_path, mode="L")
    colour = np.arange(90, dtype=np.uint8).reshape(5, 6, 3)
    Image.fromarray(colour).convert("P").save(tmp_path / "test" / "bee" / "0002.png")
    images = load(tmp_path)
    assert images.instance_shape == (3, 5, 6)
    grey = images.stored_train_x[0]
    assert np.array_equal(grey[0].numpy(), written["train", "ant"][0])
    assert torch.equal(grey[0], grey[2])


@pytest.mark.parametrize(("many", "shown"), [(1, True), (13, False)])
def test_a_bar_is_shown_where_reading_lasts(tmp_path, monkeypatch, many, shown):
    monkeypatch.setattr(folder, "MANY", many)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_folder(tmp_path / "images")
    console = Console(file=io.StringIO(), force_terminal=True)
    load(tmp_path / "images", console=console)
    assert ("reading" in console.file.getvalue()) == shown


def no_train(root):
    shutil.rmtree(root / "train")


def no_test(root):
    shutil.rmtree(root / "test")


def no_classes(root):
    for path in (root / "train").iterdir():
        shutil.rmtree(path)


def another_class(root):
    (root / "test" / "bee").rename(root / "test" / "cow")


def an_empty_class(root):
    for path in (root / "test" / "bee").iterdir():
        path.unlink()


def another_size(root):
    Image.new("RGB", (7, 5)).save(root / "test" / "bee" / "0001.png")


def sixteen_bits(root):
    Image.fromarray(np.zeros((5, 6), dtype=np.uint16)).save(root / "train" / "bee" / "0001.png")


def truncated(root):
    path = root / "train" / "bee" / "0001.png"
    path.write_bytes(path.read_bytes()[:60])


def no_image(root):
    (root / "train" / "ant" / "0000.png").write_text("not an image")


def dead_link(root):
    path = root / "train" / "ant" / "0000.png"
    path.unlink()
    path.symlink_to(root / "nowhere.png")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "does not exist: give folder:PATH with images in PATH/train/CLASS and PATH/test/CLASS"),
        (no_train, "has no folder train: give folder:PATH"),
        (no_test, "has no folder test: give folder:PATH"),
        (no_classes, "train holds no folders, one a class"),
        (another_class, r"classes in one of train and test only \('bee', 'cow'\): give both"),
        (an_empty_class, "has no image in test of 'bee': give each class some, of one of the kinds .*png"),
        (another_size, r"bee/0001.png has 7 × 5 pixels, .*ant/0000.png has 6 × 5: give images of one size"),
        (sixteen_bits, "bee/0001.png is of kind 'I;16': give 8 bits a channel"),
        (truncated, r"bee/0001.png cannot be read \(.+\): mend or remove it"),
        (no_image, r"ant/0000.png cannot be read \(.+\): mend or remove it"),
        (dead_link, r"ant/0000.png cannot be read \(.+\): mend or remove it"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("many", [5000, 1], ids=["few", "many"])
def test_what_is_wrong_with_a_folder_is_told_in_one_line(tmp_path, monkeypatch, damage, words, many):
    monkeypatch.setattr(folder, "MANY", many)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "images"
    write_folder(root)
    damage(root)
    with pytest.raises(UsageError, match=words) as caught:
        load(root)
    assert "\n" not in str(caught.value)


def test_images_that_do_not_fit_in_memory_are_refused(tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise MemoryError

    write_folder(tmp_path)
    monkeypatch.setattr(folder.np, "empty", full)
    with pytest.raises(UsageError, match=r"needs 0\.0 GiB of memory: give fewer or smaller images"):
        load(tmp_path)


def test_a_single_class_is_refused(tmp_path):
    """Every network would reach 100 % on it."""
    write_folder(tmp_path, classes=("only",))
    with pytest.raises(UsageError, match=r"has one class \('only'\), and nothing to tell it from"):
        load(tmp_path)


@pytest.mark.parametrize("path", ["x" * 5000, "~nobody-of-this-name/images"])
def test_a_path_that_cannot_be_looked_at_is_refused_in_one_line(path):
    with pytest.raises(UsageError, match="cannot be looked at .*: give folder:PATH") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
