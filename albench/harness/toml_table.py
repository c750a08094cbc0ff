"""TOML table: what a user's file says, key by key, each checked where it is read.

Nothing is guessed: an unknown key and a wrong type are refused in one line that names the file, the key, the value and
the remedy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from albench.errors import UsageError, message_of, unknown_name
from albench.harness.scenario import LARGEST

Table = Mapping[str, Any]
Keys = dict[str, tuple[Any, str]]
"""By key: the type of its value, and what to give instead of what is none."""

Whole = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)]

WHOLE = "a whole number, such as 2"
NUMBER = "a number, such as 0.5"
NAME = "a name in quotation marks"


def read_table(path: Path) -> Table:
    """Return the content of a TOML file."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path} cannot be read ({reason}): give a TOML file") from None
    return parsed_table(content, str(path))


def parsed_table(content: bytes, where: str) -> Table:
    """Return what TOML says; `where` names its source in errors."""
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, a number of thousands of digits, …
        raise UsageError(f"{where} is not TOML ({message_of(error, 200)}): write it as `key = value` lines") from None


def checked_values(table: Table, keys: Keys, where: str) -> dict[str, Any]:
    """Return the values of a table, each checked against the type of its key."""
    values = {}
    for key, value in table.items():
        if key not in keys:
            raise UsageError(f"{where}: {unknown_name('key', key, keys)}")
        kind, remedy = keys[key]
        try:
            values[key] = msgspec.convert(value, kind)
        except (msgspec.ValidationError, RecursionError):
            raise UsageError(f"{where}: {key} is {shown(value)}: give {remedy}") from None
    return values


def shown(value: Any) -> str:
    """Return a value as Python writes it, on one line and not at any length."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "too large"
    return text if len(text) <= 100 else f"{text[:100]}…"
