"""Files: a report is several of them, and each appears in its directory whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from albench.errors import UsageError
from albench.report.drawing import Drawing
from albench.whole_file import write_whole


def figure_files(drawings: Iterable[Drawing]) -> dict[str, bytes]:
    """Return the files of figures by name: each as SVG, which pages hold too, and as PNG."""
    files: dict[str, bytes] = {}
    for drawing in drawings:
        files |= {f"figures/{drawing.name}.svg": drawing.svg, f"figures/{drawing.name}.png": drawing.png}
    return files


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
