"""Folder: images of your own, in the layout that torchvision's ImageFolder reads.

    PATH/train/cat/0001.png  PATH/train/dog/…      to train on
    PATH/test/cat/0001.png   PATH/test/dog/…       held out

Classes are numbered in the order of their names. All images have one size, as networks ask for; a set of nothing but
grey images has one channel, any other three. Pixels are scaled to [0, 1] and centred by the training images' mean,
pixel by pixel. A large folder takes a while to read, so its pixels are kept (`albench.data.pixel_cache`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from albench.data import FOLDER, pixel_cache
from albench.data.dataset import Dataset
from albench.data.images import Normalisation
from albench.errors import UsageError, message_of

LAYOUT = "give folder:PATH with images in PATH/train/CLASS and PATH/test/CLASS"
GREY = ("1", "L")
"""Pillow's names for images without colour…"""
COLOURED = ("P", "RGB", "RGBA", "CMYK", "YCbCr", "LA", "PA")
"""…and for others of 8 bits a channel, which are read as red, green and blue, without transparency, as torchvision
reads them."""
MANY = 5000
"""Images from which reading is worth a progress bar, and its result worth keeping: about a second."""
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow raises where a file is not the image that its name promises."""


def load(name: str, *, data_dir: Path | None, seed: int, console: Console | None) -> Dataset:  # noqa: ARG001 - all alike
    """Return the images of a folder, x uint8 ``[n, C, H, W]``; `name` is ``folder:PATH``, from where you are."""
    root = _root(name.removeprefix(FOLDER))
    train, test = (_split(root, split) for split in ("train", "test"))
    only = sorted(set(train.classes) ^ set(test.classes))
    if only:
        raise UsageError(
            f"folder {root} has classes in one of train and test only ({_listed(only)}): give both the same classes"
        )
    if len(train.classes) < 2:
        raise UsageError(f"folder {root} has one class ({train.classes[0]!r}), and nothing to tell it from: {LAYOUT}")
    for split, found in (("train", train), ("test", test)):
        empty = sorted(set(found.classes) - {found.classes[label] for label in found.targets})
        if empty:
            raise UsageError(
                f"folder {root} has no image in {split} of {_listed(empty)}: give each class some, "
                f"of one of the kinds {' '.join(IMG_EXTENSIONS)}"
            )
    paths = [Path(path) for path, _label in (*train.samples, *test.samples)]
    pixels = torch.from_numpy(_kept_pixels(root, paths, console))
    count = len(train.samples)
    return Dataset(
        name=name,
        stored_train_x=pixels[:count],
        train_y=torch.tensor(train.targets),
        stored_held_out_x=pixels[count:],
        held_out_y=torch.tensor(test.targets),
        classes=len(train.classes),
        normalisation=Normalisation.of(pixels[:count]),
    )


def _root(path: str) -> Path:
    """Return the folder of this path, from where you are or from a home."""
    try:
        root = Path(path).expanduser()
        there = root.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long; nobody's home
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"folder {path[:60]!r} cannot be looked at ({reason}): {LAYOUT}") from None
    if not there:
        raise UsageError(f"folder {root} does not exist: {LAYOUT}")
    return root


def _split(root: Path, split: str) -> ImageFolder:
    """Return what torchvision finds in one half of a folder: classes, and paths with their classes' numbers."""
    if not (root / split).is_dir():
        raise UsageError(f"folder {root} has no folder {split}: {LAYOUT}")
    try:
        return ImageFolder(str(root / split), allow_empty=True)
    except FileNotFoundError:
        raise UsageError(f"folder {root / split} holds no folders, one a class: {LAYOUT}") from None


def _listed(names: list[str]) -> str:
    """Return the first few names."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _kept_pixels(root: Path, paths: list[Path], console: Console | None) -> NDArray[np.uint8]:
    """Return the pixels of images, kept from an earlier time where there are many."""
    if len(paths) < MANY:
        return read_pixels(root, paths, console)
    try:
        entry = pixel_cache.entry_of(root, paths)
    except (OSError, RuntimeError):  # a file that cannot be read, which reading will name; or nobody's home
        return read_pixels(root, paths, console)
    pixels = pixel_cache.recall(entry, len(paths))
    if pixels is None:
        pixels = read_pixels(root, paths, console)
        pixel_cache.keep(entry, pixels)
    return pixels


def read_pixels(root: Path, paths: list[Path], console: Console | None = None) -> NDArray[np.uint8]:
    """Return images of one size as bytes ``[n, C, H, W]``; another size, or no image, is a `UsageError`."""
    pixels: NDArray[np.uint8] | None = None
    grey = True
    for i, path in enumerate(_with_bar(paths, f"reading {root}", console)):
        try:
            with Image.open(path) as image:
                shape = (3, image.height, image.width)
                if pixels is None:
                    pixels = _room(len(paths), shape, root)
                elif shape != pixels.shape[1:]:
                    first = f"{pixels.shape[3]} × {pixels.shape[2]}"
                    raise UsageError(
                        f"image {path} has {image.width} × {image.height} pixels, {paths[0]} has {first}: "
                        "give images of one size"
                    )
                if image.mode not in (*GREY, *COLOURED):
                    raise UsageError(f"image {path} is of kind {image.mode!r}: give 8 bits a channel, grey or colour")
                grey = grey and image.mode in GREY
                pixels[i] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except UsageError:
            raise
        except UNREADABLE as error:
            raise UsageError(f"image {path} cannot be read ({message_of(error, 200)}): mend or remove it") from None
    if pixels is None:
        raise UsageError(f"folder {root} holds no images: {LAYOUT}")
    return np.ascontiguousarray(pixels[:, :1]) if grey else pixels


def _room(count: int, shape: tuple[int, int, int], root: Path) -> NDArray[np.uint8]:
    """Return memory for so many images."""
    try:
        return np.empty((count, *shape), dtype=np.uint8)
    except MemoryError:
        need = count * np.prod(shape, dtype=float) / 2**30
        raise UsageError(f"folder {root} needs {need:.1f} GiB of memory: give fewer or smaller images") from None


def _with_bar(paths: list[Path], what: str, console: Console | None) -> Iterable[Path]:
    """Return paths, with a progress bar on a console where there are many."""
    if console is None or len(paths) < MANY:
        return paths
    return track(paths, description=what, console=console, transient=True)
