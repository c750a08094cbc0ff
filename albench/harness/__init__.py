"""Harness: scenarios, suites, a runner that isolates and resumes, records, environment.

`load` gives what was measured as a pandas frame. Importing this imports nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

__all__ = ["load"]


def load(*sources: str | Path) -> pandas.DataFrame:
    """Return the records of directories or ``records.jsonl`` files as one frame, a row a record.

    `albench.harness.frame` says what its columns are. What cannot be read is a `UsageError`.
    """
    from albench.harness.frame import load_frame  # pandas takes most of a second: only where a frame is asked for

    return load_frame(sources)
