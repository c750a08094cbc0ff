"""Errors that a user can mend: one line that names the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NO_MEMORY = (
    "can't allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "OutOfMemoryError",
    "MemoryError",
)
"""What errors say that are no MemoryError: the CPU allocator's, the CUDA allocator's, the driver's own, cuBLAS's, and
those that come from another process as text."""


class UsageError(ValueError):
    """Bad input. The message is one line: what was given, and what to give instead; the command line exits with 2."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, which may be pages long; empty where it has none."""
    return next(iter(str(error).strip().splitlines()), "")


def message_of(error: BaseException, most: int | None = None) -> str:
    """Return an error's message on one line, cut after `most` characters."""
    return " ".join(str(error).split())[:most]


def one_line(error: BaseException, most: int = 300) -> str:
    """Return an error's type and message on one line, the message cut after `most` characters."""
    return f"{type(error).__name__}: {message_of(error, most)}"


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised for, is a want of memory: engines and teams put theirs around it."""
    while error is not None:
        if isinstance(error, MemoryError) or any(words in f"{type(error).__name__}: {error}" for words in NO_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `name` of a `kind`, with the nearest known names first."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
