"""Session records: every record of one run of pytest, on disk as it comes where a directory was given.

pytest-benchmark writes its JSON at the very end, so a run that is killed loses all of it. A line of records is on disk
before the next round starts. A run that writes to the file of an earlier one adds its rounds to those on file.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from albench.errors import UsageError, one_line
from albench.harness.records import Record, RecordFile


class SessionRecords:
    """The records of a run of pytest."""

    def __init__(self) -> None:
        self.all: list[Record] = []
        """In the order they were made."""
        self._rounds: Counter[str] = Counter()
        """By key: the next round."""
        self._file: RecordFile | None = None

    def open(self, directory: Path) -> None:
        """Write to ``directory/records.jsonl`` from now on; `UsageError` where that cannot be."""
        self._file = RecordFile(directory)
        for record in self._file.existing:
            self._rounds[record.key] = max(self._rounds[record.key], record.round + 1)

    @property
    def kept(self) -> bool:
        """Whether they are written to disk."""
        return self._file is not None

    def next_round(self, key: str) -> int:
        """Return the number of the next round of a scenario."""
        return self._rounds[key]

    def add(self, record: Record) -> str:
        """Keep a record and write it to disk; return why it could not be written, or nothing."""
        self.all.append(record)
        self._rounds[record.key] = record.round + 1
        if self._file is None:
            return ""
        try:
            self._file.append(record)
        except (OSError, UsageError) as error:
            return f"the record could not be written to {self._file.path} ({one_line(error)}): free its disk"
        return ""

    def summary(self) -> str:
        """Return one line: how many rounds were measured, how many were not, and where the records are."""
        measured = sum(record.status == "measured" for record in self.all)
        words = [f"{measured} round{'' if measured == 1 else 's'} measured"]
        for status, count in sorted(Counter(r.status for r in self.all if r.status != "measured").items()):
            words.append(f"{count} {status}")
        where = f"; records: {self._file.path}" if self._file is not None else ""
        return ", ".join(words) + where

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
