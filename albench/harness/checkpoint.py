"""Checkpoint: all that a training run goes on from, in ``checkpoint.pt``, whole or not at all.

It is written beside the old one, flushed to disk and put in its place in one step. It holds tensors, numbers and
strings only, and is read as such (``weights_only=True``): to read somebody's file runs nothing that is in it.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from albench.errors import UsageError, message_of
from albench.harness.toml_table import shown

FILE_NAME = "checkpoint.pt"
FORMAT, VERSION = "albench-checkpoint", 1


class Checkpoint(NamedTuple):
    """A run at the end of an epoch."""

    settings: dict[str, Any]
    """What the run is, as `albench.harness.recipe.Recipe.settings` has it, and how many instances it trains on."""
    epoch: int
    """Epochs done."""
    minibatches: int
    """Mini-batches done."""
    seconds: float
    """Of training."""
    state: dict[str, Any]
    """What the trainer goes on from."""


def write(directory: Path, checkpoint: Checkpoint) -> None:
    """Put a checkpoint in place of the one before; when this returns it is on disk.

    What hinders it, such as a full disk, is an `OSError`; the one before stays, and no half file beside it.
    """
    path = directory / FILE_NAME
    # Always the same name: what a crash leaves half-written is written over by the next one.
    partial = path.with_name(f"{FILE_NAME}.partial")
    try:
        with partial.open("wb") as stream:
            torch.save({"format": FORMAT, "version": VERSION, **checkpoint._asdict()}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)  # on a full disk it would take the room of the lines in the log
        if isinstance(error, RuntimeError) and (refused := _refused(error)) is not None:
            raise refused from None
        raise
    entry = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(entry)  # else a machine that loses power may still have the old name
    finally:
        os.close(entry)


def _refused(error: BaseException | None) -> OSError | None:
    """Return what the system refused: torch ends its file behind a failed write, and fails at that in its own words."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def read(directory: Path, *, mapped: bool = False) -> Checkpoint | None:
    """Return the checkpoint of a directory, on the CPU; None where there is none. Raises `UsageError` for a bad one.

    `mapped`: leave tensors on disk until they are looked at.
    """
    path = directory / FILE_NAME
    if not path.exists():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch has advice for pickles that it refuses in the next moment
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # what a damaged pickle comes to may be any error there is
        raise UsageError(
            f"{path} is no checkpoint that can be read ({message_of(error, 150)}): remove it to begin anew"
        ) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UsageError(f"{path} is no checkpoint of `albench train`: give another directory with --out")
    if found.get("version") != VERSION:
        raise UsageError(f"{path} has version {found.get('version')}, this albench reads version {VERSION}")
    if not (found.keys() >= set(Checkpoint._fields) and _sound(found)):
        raise UsageError(f"{path} is not whole: remove it to begin anew")
    return Checkpoint(**{name: found[name] for name in Checkpoint._fields})


def _sound(found: Mapping[str, Any]) -> bool:
    """Whether a run can go on from these numbers; its state is for the trainer to judge."""
    counts = [found["epoch"], found["minibatches"]]
    return (
        isinstance(found["settings"], dict)
        and "epochs" in found["settings"]
        and all(type(count) is int and count > 0 for count in counts)
        and isinstance(found["seconds"], float)
        and 0 <= found["seconds"] < math.inf
    )


def epochs_kept(directory: Path) -> int:
    """Return after how many epochs the checkpoint of a directory was written, 0 where there is none.

    Quick, whatever its size: tensors are not read. Raises `UsageError` for a bad one.
    """
    found = read(directory, mapped=True)
    return 0 if found is None else found.epoch


def refuse_another(saved: Mapping[str, Any], asked: Mapping[str, Any], *, directory: Path) -> None:
    """Raise `UsageError` if a run with settings `asked` is not the run that was saved, continued.

    More epochs are the same run, where no step of the rate stands at a share of them.
    """
    longer = asked["epochs"] != saved.get("epochs")
    other = [name for name in asked if name != "epochs" and name in saved and saved[name] != asked[name]]
    if other:
        name = other[0]
        more = f" (and {', '.join(other[1:])})" if other[1:] else ""
        raise UsageError(
            f"{directory} holds a run whose {name.replace('_', ' ')} was {shown(saved[name])} and is now "
            f"{shown(asked[name])}{more}: give what it was, or another directory"
        )
    if longer and asked["rate_steps"]:
        raise UsageError(
            f"{directory} holds a run of {saved['epochs']} epochs and epochs is now {asked['epochs']}: its rate goes "
            "down at shares of all epochs, so that is another run, give another directory"
        )
