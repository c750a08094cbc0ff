"""Errors that a user can mend: one line that names the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Bad input. The message is one line: what was given, and what to give instead; the command line exits with 2."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `name` of a `kind`, with the nearest known names first."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}: {hint}known are {', '.join(names)}")
