"""Errors that a user can mend: one line that names the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `name` of a `kind`, with the nearest known names first."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
