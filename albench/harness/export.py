"""Export: records in formats that other programs read.

* ``csv`` and ``parquet`` hold the columns of `albench.harness.frame`; nested values are texts of JSON in them.
* ``json`` is one array of whole records, each as the published schema says (`albench.harness.schema`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from albench.errors import UsageError, unknown_name
from albench.harness.records import FILE_NAME, read
from albench.whole_file import write_whole

FORMATS = ("csv", "parquet", "json")


def export(sources: Sequence[Path], out: Path, form: str | None = None) -> int:
    """Write the records of some directories or files into the file `out` and return how many they were.

    `form` is one of `FORMATS`; None: as the end of the file's name says. The file appears whole or not at all. What
    cannot be read or written is a `UsageError`, and so is a file of records in the place of `out`.
    """
    form = form or out.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    if out.name == FILE_NAME or any(_same(source, out) for source in sources):
        raise UsageError(f"{out} is where records are kept: give another file with --out")
    if form == "json":
        records = [record for source in sources for record in read(source)]
        count, content = len(records), msgspec.json.format(msgspec.json.encode(records), indent=1)
    else:
        count, content = _table(sources, form)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, content)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written ({error.strerror or error}): mend that or give another file with --out"
        ) from None
    return count


def _same(source: Path, out: Path) -> bool:
    try:
        return source.samefile(out)
    except OSError:
        return False


def _table(sources: Sequence[Path], form: str) -> tuple[int, bytes]:
    """Return the number of rows and the content of a file of columns."""
    from albench.harness.frame import load_frame  # pandas takes most of a second

    frame = load_frame(sources)
    for name in [name for name in frame if frame[name].dtype == "object"]:
        frame[name] = frame[name].map(_json, na_action="ignore").astype("string")
    stream = io.BytesIO()
    if form == "csv":
        frame.to_csv(stream, index=False, lineterminator="\n")
        return len(frame), stream.getvalue()
    try:
        frame.to_parquet(stream, index=False, engine="pyarrow")
    except ImportError:
        raise UsageError(
            "Parquet needs pyarrow, which is missing or too old: pip install 'albench[parquet]', or give --format csv"
        ) from None
    return len(frame), stream.getvalue()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
