"""Whole file: what is written appears under its name in one step, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file under another name, and put it in its place at the end; what stood there stays until then.

    It is for its owner alone. What hinders it, such as a full disk, is an `OSError`, and nothing is left behind.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file that everybody may read, in one step. Text becomes UTF-8. Raises `OSError`."""
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")  # a command line may hold bytes that are no letters
    with whole_file(path) as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), 0o644)
