"""Frame: records as a pandas frame, a row a record, in the order they were written.

* The fields of a record and of its scenario are columns of their own names. One name is taken twice: ``lanes`` is what
  really ran, ``lanes_asked`` what the scenario asked for.
* Everything on file is there. ``counts`` is false for controls (``purpose`` "control") and for a round's attempts that
  a later one took the place of: ``frame[frame.counts]`` is what a report is made from, failures included.
* ``off_pace`` is true where the control case beside a time was off its pace by more than 15 %, so that the machine was.
* ``series``, ``milliseconds_per_minibatch``, ``samples_per_second``, ``flops_per_second``, ``share_of_peak`` and
  ``joules_per_sample`` are derived; ``source`` is the file.
* ``cpu``, ``torch``, ``commit`` and so on are the facts of the environment that tell machines apart.
* Lists and nested values stand last, as Python objects: ``frame.explode("task_seconds")`` makes rows of one.

A column has the type of its field, on no rows as on many: whole numbers are ``int64``, or ``Int64`` where they may be
missing, text is ``string``. What is missing is NA, and NaN in a column of floating-point numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from msgspec import inspect

from albench.errors import UsageError
from albench.harness.control import flags, latest
from albench.harness.derivation import deriving
from albench.harness.records import Record, read
from albench.harness.scenario import Scenario

LARGEST_NUMBER = 2**63 - 1


def _text(*path: str) -> Callable[[dict[str, Any]], Any]:
    """Return what finds a text in an environment."""

    def find(value: Any) -> Any:
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return None if value is None else str(value)

    return find


def _count(name: str) -> Callable[[dict[str, Any]], Any]:
    """Return what finds a whole number in an environment."""

    def find(environment: dict[str, Any]) -> Any:
        value = environment.get(name)
        return value if type(value) is int and abs(value) <= LARGEST_NUMBER else None

    return find


def _gpu(environment: dict[str, Any]) -> str | None:
    """Return the names of the GPUs, or None where there is none."""
    found = environment.get("gpus")
    name = _text("name")
    return ", ".join(filter(None, map(name, found))) or None if isinstance(found, list) else None


ENVIRONMENT: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "cpu": ("string", _text("cpu")),
    "usable_cores": ("Int64", _count("usable_cores")),
    "machine_memory_bytes": ("Int64", _count("memory_bytes")),
    "gpu": ("string", _gpu),
    "platform": ("string", _text("platform")),
    "python": ("string", _text("python")),
    "torch": ("string", _text("packages", "torch")),
    "albench": ("string", _text("packages", "albench")),
    "commit": ("string", _text("commit")),
}
"""Columns of the environment; what an environment does not say, or not as it should, is missing."""


DERIVED = {name: deriving(name) for name in ("flops_per_second", "share_of_peak", "joules_per_sample")}
"""Columns that follow from others and from what is nested; missing where a record does not hold enough."""


def load_frame(sources: Iterable[str | Path]) -> pd.DataFrame:
    """Return the records of some directories or files as one frame; see `albench.harness.load`."""
    paths = [Path(source) for source in sources]
    if not paths:
        raise UsageError("there is nothing to load: give a directory or records.jsonl that albench wrote")
    found = [(str(path), record) for path in paths for record in read(path)]
    return frame([record for _, record in found], sources=[source for source, _ in found])


def frame(records: Sequence[Record], *, sources: Sequence[str] | None = None) -> pd.DataFrame:
    """Return records as a frame; `sources` says of each where it comes from."""
    columns: dict[str, pd.Series[Any]] = {}
    if sources is not None:
        columns["source"] = _series(sources, "string")
    nested: dict[str, pd.Series[Any]] = {}
    scenarios = [record.scenario for record in records]
    for owner, rows in ((Record, records), (Scenario, scenarios)):
        for field in _fields(owner):
            if field.name == "scenario":
                continue
            name = f"{field.name}_asked" if field.name in columns else field.name
            kind = _dtype(field.type)
            values = [msgspec.to_builtins(getattr(row, field.name)) for row in rows]
            if kind == "word":
                values, kind = [_word(value) for value in values], "string"
            (nested if kind == "object" else columns)[name] = _series(values, kind, name)
    started = pd.to_datetime(columns["started_at"], utc=True, format="ISO8601", errors="coerce")
    columns["started_at"] = started.astype("datetime64[us, UTC]")
    origins = sources or [""] * len(records)
    columns["counts"] = _series(_chosen(records, origins, latest), "bool")
    columns["off_pace"] = _series(_chosen(records, origins, lambda own: [flag.record for flag in flags(own)]), "bool")
    columns["series"] = _series([scenario.series for scenario in scenarios], "string")
    columns["milliseconds_per_minibatch"] = columns["seconds"] * 1e3 / columns["minibatches"]
    columns["samples_per_second"] = columns["instances"] / columns["seconds"].where(columns["seconds"] > 0)
    for name, read_one in DERIVED.items():
        columns[name] = _series([read_one(record) for record in records], "float64")
    for name, (kind, find) in ENVIRONMENT.items():
        columns[name] = _series([find(record.environment) for record in records], kind)
    return pd.DataFrame(columns | nested)


def _chosen(
    records: Sequence[Record], sources: Sequence[str], choose: Callable[[list[Record]], list[Record]]
) -> list[bool]:
    """Return of each record whether it is among those that are chosen of its source."""
    together: dict[str, list[Record]] = {}
    for source, record in zip(sources, records, strict=True):
        together.setdefault(source, []).append(record)
    chosen = {id(record) for own in together.values() for record in choose(own)}
    return [id(record) in chosen for record in records]


def _fields(owner: type) -> tuple[inspect.Field, ...]:
    """Return the fields of a struct or dataclass with their types."""
    kind = inspect.type_info(owner)
    assert isinstance(kind, inspect.StructType | inspect.DataclassType)
    return kind.fields


def _dtype(kind: inspect.Type) -> str:
    """Return the column type of a field's type; "word" for what is said in words or as true and false."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    there = [one for one in kinds if not isinstance(one, inspect.NoneType)]
    optional = len(there) < len(kinds)
    if len(there) > 1:
        wordy = (inspect.BoolType, inspect.LiteralType, inspect.StrType)
        return "word" if all(isinstance(one, wordy) for one in there) else "object"
    match there[0]:
        case inspect.IntType():
            return "Int64" if optional else "int64"
        case inspect.BoolType():
            return "boolean" if optional else "bool"
        case inspect.FloatType():
            return "float64"
        case inspect.StrType() | inspect.LiteralType():
            return "string"
    return "object"


def _word(value: Any) -> str | None:
    """Return a word as it is, and true and false as JSON writes them."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _series(values: Sequence[Any], kind: str, name: str = "") -> pd.Series[Any]:
    """Return a column of a type."""
    try:
        return pd.Series(list(values), dtype=kind)
    except OverflowError:
        raise UsageError(f"{name} holds a number beyond 64 bits: that record is damaged, leave its file out") from None
