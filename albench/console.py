"""Console: how the command line speaks, and how it reads lists: one line for whatever is wrong, on standard error."""

from __future__ import annotations

import contextlib
import shlex
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Console

from albench.errors import UsageError, message_of, one_line, ran_out_of_memory
from albench.harness import records

PLAIN_WIDTH = 140
"""Columns of a table in a file or a pipe, which has no width of its own."""

out = Console(soft_wrap=False, highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, soft_wrap=True, highlight=False)


NOTHING_LOST = "give the command again"
"""What is said of an interrupted command that measures nothing."""


@contextlib.contextmanager
def one_line_errors(
    interrupted: str = "what was measured is on disk, the same command goes on from there",
) -> Iterator[None]:
    """Turn bad input into one line and exit status 2, what the system refuses into status 1, and Ctrl-C into 130.

    `interrupted`: what is said of what an interrupted command leaves.
    """
    try:
        with _one_line_warnings():
            yield
    except UsageError as error:
        err.print(f"albench: {error}", markup=False)
        raise typer.Exit(2) from None
    except BrokenPipeError:
        raise  # who read the output has gone, and needs no line
    except OSError as error:
        err.print(f"albench: {one_line(error)}: mend that; what was measured before is on disk", markup=False)
        raise typer.Exit(1) from None
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        err.print(
            f"albench: out of memory ({message_of(error, 200)}): give a smaller width or batch size, or another device",
            markup=False,
        )
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        err.print(f"albench: interrupted; {interrupted}", markup=False)
        raise typer.Exit(130) from None


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Say in one line what was wrong with records; other warnings are shown as ever."""
    shown: Any = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, records.RecordWarning):
            err.print(f"albench: {message}", markup=False)
        else:
            shown(message, category, *where)

    with warnings.catch_warnings():
        setattr(warnings, "showwarning", show)  # noqa: B010 - its type counts arguments that are only passed on
        yield


def command() -> str:
    """Return what was typed, to be shown where its result is shown."""
    return shlex.join(["albench", *sys.argv[1:]])


def names(text: str | None, option: str) -> tuple[str, ...] | None:
    """Return a comma-separated option as names."""
    if text is None:
        return None
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise UsageError(f"{option} is {text!r}: give a comma-separated list")
    return found


def numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    """Return a comma-separated option as whole numbers."""
    found = names(text, option)
    if found is None:
        return None
    try:
        return tuple(int(name) for name in found)
    except ValueError:
        raise UsageError(f"{option} is {text!r}: give whole numbers, separated by commas") from None
