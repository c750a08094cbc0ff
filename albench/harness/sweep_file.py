"""Sweep file: a TOML file that changes a suite, or is one.

A file for ``albench run depth --config mine.toml`` names what it changes, each key as in `Overrides` and `Limits`:

    widths = [64]
    hidden_layers = [2, 8, 32]
    rounds = 5

A file for ``albench run mine.toml`` is a suite of its own, of grids (`albench.harness.grid.Grid`). Keys at the top hold
for every grid that does not say otherwise; without ``[[grid]]`` they are the one grid:

    description = "AL against BP, narrow and wide"
    hidden_layers = [2, 8, 32]
    minibatches = [16, 48, 128]

    [[grid]]
    contenders = [{ method = "al", engine = "fused" }, { method = "bp" }]
    widths = [32]
    batch_sizes = [16]

    [[grid]]
    contenders = [{ method = "al", engine = "threads", lanes = "cores" }, { method = "bp", lanes = "cores" }]
    widths = [512]
    batch_sizes = [128]

The command line goes before a ``--config`` file, and that before the suite. Nothing is guessed: an unknown key, a wrong
type and an empty axis are refused in one line that names the file, the key, the value and the remedy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from albench.errors import UsageError
from albench.harness.grid import Contender, Grid
from albench.harness.overrides import Overrides
from albench.harness.runner import Limits
from albench.harness.suites import Suite, suite_named
from albench.harness.toml_table import NAME, NUMBER, WHOLE, Table, Whole, checked_values, read_table
from albench.machine import LaneKind
from albench.methods import method_named
from albench.networks import BridgeForm

Bytes = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
Wholes = Annotated[tuple[Whole, ...], msgspec.Meta(min_length=1)]
Names = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]

BYTES = "a whole number of bytes, such as 4_294_967_296"
WHOLES = "a list of whole numbers, such as [2, 8, 32]"
NAMES = 'a list of names, such as ["al", "bp"]'
TABLES = 'a list of tables, such as [{ method = "al", engine = "fused", lanes = 2 }]'

LIMIT_KEYS: dict[str, tuple[Any, str]] = {
    "rounds": (Whole, WHOLE),
    "sweep_seconds": (float, NUMBER),
    "case_seconds": (float, NUMBER),
    "case_bytes": (Bytes, BYTES),
    "relative_half_width": (float, NUMBER),
}
AXIS_KEYS: dict[str, tuple[Any, str]] = {
    "hidden_layers": (Wholes, WHOLES),
    "widths": (Wholes, WHOLES),
    "batch_sizes": (Wholes, WHOLES),
    "minibatches": (Wholes, WHOLES),
    "seeds": (Wholes, WHOLES),
    "datasets": (Names, NAMES),
    "device": (str, NAME),
    "precision": (str, NAME),
    "learning_rate": (float, NUMBER),
    "bridge_factor": (Whole, WHOLE),
    "initial_scale": (float, NUMBER),
    "network": (str, NAME),
    "bridge": (BridgeForm, '"flat" or "pooled"'),
}
CHANGE_KEYS = AXIS_KEYS | {
    "methods": (Names, NAMES),
    "engines": (Names, NAMES),
    "lanes": (Wholes, WHOLES),
    "microbatches": (Wholes, WHOLES),
    "replicas": (Wholes, WHOLES),
    "lane_kinds": (Names, 'a list of "stream" and "sm-share"'),
    "lane_sms": (Whole, WHOLE),
    "distinct_targets": (Names, 'a list of "auto", "on" and "off"'),
}
GRID_KEYS = AXIS_KEYS | {
    "contenders": (Annotated[tuple[dict[str, Any], ...], msgspec.Meta(min_length=1)], TABLES),
    "purpose": (Literal["time", "input", "accuracy"], '"time", "input" or "accuracy"'),
}
SUITE_KEYS = (
    LIMIT_KEYS | GRID_KEYS | {"description": (str, NAME), "grid": (tuple[dict[str, Any], ...], "[[grid]] tables")}
)
CONTENDER_KEYS: dict[str, tuple[Any, str]] = {
    "method": (str, NAME),
    "engine": (str, NAME),
    "lanes": (Whole | Literal["cores"], 'a whole number, or "cores" for as many as there are'),
    "microbatches": (Whole, WHOLE),
    "replicas": (Whole | Literal["cores"], 'a whole number, or "cores" for as many as there are'),
    "lane_kind": (LaneKind, '"stream" or "sm-share"'),
    "lane_sms": (Whole, WHOLE),
    "distinct_targets": (bool | Literal["auto"], 'true, false or "auto"'),
}
REQUIRED = ("contenders", "hidden_layers", "widths", "batch_sizes", "minibatches")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a ``--config`` file changes."""

    overrides: Overrides = dataclasses.field(default_factory=Overrides)
    limits: Table = dataclasses.field(default_factory=dict)


def read_changes(path: Path) -> Changes:
    """Return what a file for ``--config`` changes."""
    table = read_table(path)
    for key in ("contenders", "grid"):
        if key in table:
            raise UsageError(f"{path}: {key} makes it a suite of its own: give `albench run {path}` without --config")
    values = checked_values(table, LIMIT_KEYS | CHANGE_KEYS, str(path))
    limits = {key: values.pop(key) for key in LIMIT_KEYS if key in values}
    return Changes(overrides=Overrides(**values), limits=limits)


def suite_of(name: str) -> Suite:
    """Return the suite of that name, or of a file whose name ends in ".toml"; neither is a `UsageError`."""
    return read_suite(Path(name)) if name.endswith(".toml") else suite_named(name)


def read_suite(path: Path) -> Suite:
    """Return the suite that a file defines."""
    values = checked_values(read_table(path), SUITE_KEYS, str(path))
    common = {key: values.pop(key) for key in GRID_KEYS if key in values}
    tables: Sequence[dict[str, Any]] = values.pop("grid", ()) or ({},)
    specifications = []
    for number, table in enumerate(tables, 1):
        where = f"{path}, grid {number}" if len(tables) > 1 else str(path)
        specification = common | checked_values(table, GRID_KEYS, where)
        for key in REQUIRED:
            if key not in specification:
                raise UsageError(f"{where}: {key} is missing: give {GRID_KEYS[key][1]}")
        contenders = specification.pop("contenders")
        specification["contenders"] = [
            checked_values(one, CONTENDER_KEYS, f"{where}, contenders") for one in contenders
        ]
        for one in specification["contenders"]:
            if "method" not in one:
                raise UsageError(f"{where}, contenders: method is missing: give {NAME}")
        specifications.append(specification)

    def grids(cores: int) -> list[Grid]:
        return [grid for specification in specifications for grid in _grids(specification, cores)]

    return Suite(**({"description": f"defined by {path}"} | values), grids=grids, lanes_on=None)


def limits_of(suite: Suite, changes: Changes, **given: float | None) -> Limits:
    """Return when a sweep stops: as `given` where it is, else as the file says, else as the suite says."""
    own = {key: getattr(suite, key) for key in LIMIT_KEYS}
    return Limits(**(own | dict(changes.limits) | {key: value for key, value in given.items() if value is not None}))


def _grids(specification: Table, cores: int) -> Iterator[Grid]:
    """Yield a grid a data set."""
    fields = dict(specification)
    contenders = []
    for table in fields.pop("contenders"):
        contender: dict[str, Any] = {key: cores if value == "cores" else value for key, value in table.items()}
        contender.setdefault("engine", method_named(table["method"]).engines[0])
        contenders.append(Contender(**contender))
    fields["contenders"] = tuple(dict.fromkeys(contenders))
    for dataset in fields.pop("datasets", ("digits",)):
        yield Grid(**fields, dataset=dataset)
