"""Made-up data sets: small files in the layout of each, and data sets in memory."""

import hashlib
import pickle
import struct

import numpy as np
import torch
from PIL import Image

from albench.data.dataset import Dataset
from albench.data.images import Normalisation


def images_in_memory(*, instances=37, held_out=11, shape=(3, 8, 8), classes=5, **fields):
    """Return a data set of random images."""
    generator = torch.Generator().manual_seed(0)

    def drawn(count, *size, below=256):
        return torch.randint(below, (count, *size), generator=generator)

    images = drawn(instances, *shape).to(torch.uint8)
    return Dataset(
        name="made up",
        stored_train_x=images,
        train_y=drawn(instances, below=classes),
        stored_held_out_x=drawn(held_out, *shape).to(torch.uint8),
        held_out_y=drawn(held_out, below=classes),
        classes=classes,
        normalisation=Normalisation.of(images),
        **fields,
    )


def write_mnist(root, *, folder="MNIST", images=20, labels=None, magic=2051, classes=10):
    """Write MNIST's files and return the directory that holds them."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        pixels = generator.integers(0, 256, (images, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", magic, images, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        numbers = generator.integers(0, classes, labels or images, dtype=np.uint8)
        numbers[:1] = classes - 1
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, len(numbers)) + numbers.tobytes())
    return raw


class OldBytes:
    """An array of bytes, pickled as NumPy did when the CIFAR files were written: with 0 and 1 for False and True."""

    class Type:
        def __reduce__(self):
            return np.dtype, ("u1", 0, 1), (3, "|", None, None, None, -1, -1, 0)

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        empty, _arguments, _state = self.array.__reduce__()
        return empty, (np.ndarray, (0,), b"b"), (1, self.array.shape, self.Type(), False, self.array.tobytes())


def write_cifar(root, reader, monkeypatch, *, images=6):
    """Write files that pass for the published ones of torchvision's `reader`, and return what each holds."""
    folder = root / reader.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    labels = "labels" if reader.meta["key"] == "label_names" else "fine_labels"
    classes = 10 if labels == "labels" else 100
    contents = {}

    def written(name, content):
        text = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(text)
        return hashlib.md5(text, usedforsecurity=False).hexdigest()

    for files in ("train_list", "test_list"):
        listed = []
        for name, _md5 in getattr(reader, files):
            pixels = generator.integers(0, 256, (images, 3072), dtype=np.uint8)
            numbers = generator.integers(0, classes, images).tolist()
            contents[name] = pixels, numbers
            listed.append([name, written(name, {"data": OldBytes(pixels), labels: numbers})])
        monkeypatch.setattr(reader, files, listed)
    names = {reader.meta["key"]: [f"class {i}" for i in range(classes)]}
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": written(reader.meta["filename"], names)})
    return contents


def write_folder(root, *, classes=("ant", "bee"), images=3, size=(6, 5), mode="RGB"):
    """Write a tree of images of `size` (width, height) and return their pixels by split and class ``[n, H, W, …]``."""
    generator = np.random.default_rng(0)
    written = {}
    for split in ("train", "test"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            shape = (images, size[1], size[0]) + ((3,) if mode == "RGB" else ())
            pixels = generator.integers(0, 256, shape, dtype=np.uint8)
            written[split, name] = pixels
            for i, image in enumerate(pixels):
                Image.fromarray(image).save(root / split / name / f"{i:04d}.png")
    return written
