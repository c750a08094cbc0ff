"""Whole file: what is written appears under its name in one step, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file under another name first, then put it in its place; what stood there stays until then.

    Text becomes UTF-8. What hinders it, such as a full disk, is an `OSError`, and nothing is left behind.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")  # a command line may hold bytes that are no letters
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        temporary.chmod(0o644)  # mkstemp's 0600 is for secrets; this is to be read
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
