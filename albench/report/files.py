"""Files: a report is several of them, and each appears in its directory whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from albench.errors import UsageError
from albench.harness.whole_file import write_whole


def write_files(out: Path, files: Mapping[str, bytes | str]) -> None:
    """Write files into a directory, in their order, each whole or not at all; a `UsageError` where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).parent.mkdir(exist_ok=True)
            write_whole(out / name, content)
    except OSError as error:
        raise UsageError(
            f"the report cannot be written into {out} ({error.strerror or error}): mend that and give the same "
            "command again, or give another directory with --out"
        ) from None
