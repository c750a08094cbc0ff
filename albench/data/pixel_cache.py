"""Pixel cache: what was read from many image files, kept as one file that is read at once.

Each case of a sweep runs in a fresh process, and each would decode tens of thousands of images again. What is kept
belongs to the names, sizes and times of change of all files: after any change it is not found, and the next reading
takes its place. It lies with other caches of the user, ``$XDG_CACHE_HOME/albench`` or ``~/.cache/albench``, since data
may be where nobody may write; it may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from albench.whole_file import whole_file


def entry_of(root: Path, paths: Sequence[Path]) -> Path:
    """Return the file that would hold the pixels of images, which lie under `root`."""
    files = hashlib.blake2b(digest_size=16)
    for path in paths:
        status = path.stat()
        files.update(f"{path.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="replace"))
    folder = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=8).hexdigest()
    return _directory() / f"{folder}-{files.hexdigest()}.npy"


def recall(entry: Path, count: int) -> NDArray[np.uint8] | None:
    """Return the pixels of `count` images ``[n, C, H, W]``, or None where they were not kept or are damaged."""
    try:
        pixels: NDArray[np.uint8] = np.load(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = pixels.dtype == np.uint8 and pixels.ndim == 4 and len(pixels) == count
    return pixels if good else None


def keep(entry: Path, pixels: NDArray[np.uint8]) -> None:
    """Keep pixels, whole or not at all, in place of what was kept of the same folder; where nothing can be written
    nothing is kept.
    """
    folder = entry.name.split("-")[0]
    with contextlib.suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(entry) as stream:
            np.save(stream, pixels, allow_pickle=False)
        for other in entry.parent.glob(f"{folder}-*.npy"):
            if other != entry:
                other.unlink(missing_ok=True)


def _directory() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "albench"
