"""Recipe file: a TOML file that says what to train and how, for ``albench train --recipe``.

Those of the paper's tables are in ``albench/recipes``, one a network and data set, and go by their names. Keys at the
top hold for every method; those in a method's own table go before them, and the command line before both:

    description = "Table 2: MLP on MNIST"
    network = "mlp"
    dataset = "mnist"
    width = 1024
    learning_rate = 1e-4
    rate_steps = [{ at = 0.4, factor = 0.1 }, { at = 0.9, factor = 0.5 }]

    [al]

    [bp]
    learning_rate = 1e-3

A file with tables of methods is for these methods only. Nothing is guessed: an unknown key and a wrong type are refused
in one line that names the file, the key, the value and the remedy.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from albench.decay import Decayed
from albench.errors import UsageError, unknown_name
from albench.harness.rates import RateStep
from albench.harness.recipe import Recipe
from albench.harness.toml_table import (
    NAME,
    NUMBER,
    WHOLE,
    Keys,
    Table,
    Whole,
    checked_values,
    parsed_table,
    read_table,
    shown,
)
from albench.methods import METHODS, method_named
from albench.networks import network_named
from albench.networks.spec import BridgeForm


class StepTable(msgspec.Struct, forbid_unknown_fields=True):
    """A step of the rate as a file has it."""

    at: float
    factor: float


STEPS = "a list of tables, such as [{ at = 0.4, factor = 0.1 }]"

METHOD_KEYS: Keys = {
    "engine": (str, NAME),
    "hidden_layers": (Whole, WHOLE),
    "width": (Whole, WHOLE),
    "bridge_width": (Whole, WHOLE),
    "bridge": (BridgeForm, '"flat" or "pooled"'),
    "batch_size": (Whole, WHOLE),
    "epochs": (Whole, WHOLE),
    "learning_rate": (float, NUMBER),
    "rate_steps": (tuple[StepTable, ...], STEPS),
    "weight_decay": (float, NUMBER),
    "decayed": (Decayed, '"all" or "convolutions"'),
    "epsilon": (str, '"torch" or "tensorflow"'),
    "augmentation": (str, NAME),
    "lanes": (Whole, WHOLE),
    "microbatches": (Whole, WHOLE),
    "replicas": (Whole, WHOLE),
    "device": (str, NAME),
    "seed": (Whole, WHOLE),
}
KEYS: Keys = METHOD_KEYS | {"description": (str, NAME), "network": (str, NAME), "dataset": (str, NAME)}

DEFAULTS: dict[str, Any] = {
    "dataset": "digits",
    "engine": None,
    "width": 128,
    "bridge_width": None,
    "batch_size": 32,
    "epochs": 20,
    "learning_rate": 1e-3,
    "lanes": None,
    "seed": 0,
}
"""What neither a file nor the command line says; the rest are `Recipe`'s own."""
USUAL_DEPTH = 4
"""ℓ where neither says and the kind of network leaves it free."""


def recipe_of(name: str | None, *, method: str, **given: Any) -> Recipe:
    """Return the recipe of that name, or of a file whose name ends in ".toml", for a method.

    `given`: fields of `Recipe` that go before it; None: not given. Without a name there is nothing but them. Raises
    `UsageError`.
    """
    method_named(method)
    chosen = {key: value for key, value in given.items() if value is not None}
    values = DEFAULTS | (values_of(name, method) if name is not None else {}) | chosen
    if "hidden_layers" not in values:
        values["hidden_layers"] = network_named(values.get("network", "mlp")).hidden_layers or USUAL_DEPTH
    return Recipe(method=method, **values)


def values_of(name: str, method: str) -> dict[str, Any]:
    """Return what a recipe says for a method, by field of `Recipe`."""
    table = dict(table_of(name))
    for key, value in table.items():
        if isinstance(value, dict) and key not in (*METHODS, *KEYS):
            raise UsageError(f"{name}: {unknown_name('method', key, METHODS)}")
        if key in METHODS and not isinstance(value, dict):
            raise UsageError(f"{name}: {key} is {shown(value)}: give a table, [{key}]")
    own = {key: table.pop(key) for key in METHODS if key in table}
    values = checked_values(table, KEYS, name)
    values.pop("description", None)
    if own and method not in own:
        raise UsageError(f"recipe {name} is for {' and '.join(own)}, and method is {method!r}: give one of these")
    values |= checked_values(own.get(method, {}), METHOD_KEYS, f"{name}, {method}")
    if "rate_steps" in values:
        values["rate_steps"] = tuple(RateStep(at=step.at, factor=step.factor) for step in values["rate_steps"])
    return values


def table_of(name: str) -> Table:
    """Return the content of the recipe of that name, or of a file whose name ends in ".toml"."""
    if name.endswith(".toml"):
        return read_table(Path(name))
    shipped = _shipped()
    if name not in shipped:
        raise unknown_name("recipe", name, shipped)
    return parsed_table(shipped[name].read_bytes(), name)


def descriptions() -> dict[str, str]:
    """Return what each recipe of the package is, by name."""
    return {name: str(table_of(name)["description"]) for name in _shipped()}


def _shipped() -> dict[str, Traversable]:
    files = sorted(resources.files("albench.recipes").iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}
