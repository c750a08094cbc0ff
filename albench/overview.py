"""Overview: what there is, as tables for the terminal: suites and their cases, methods, data sets, this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from albench.data import DATASETS
from albench.harness import estimate, recipe_file, suites
from albench.harness.availability import engine_availability, share_availability
from albench.harness.scenario import Scenario
from albench.methods import METHODS
from albench.networks import NETWORKS


def everything() -> Iterator[Table | str]:
    """Yield the suites, the methods, the networks, the data sets and the recipes."""
    named = Table("suite", "question", "cases", title="Suites", title_justify="left")
    for name, entry in suites.SUITES.items():
        named.add_row(name, entry.description, str(len(suites.suite_scenarios(name))))
    yield named
    methods = Table("method", "engines", title="Methods", title_justify="left")
    for name, method in METHODS.items():
        methods.add_row(name, ", ".join(method.engines))
    yield methods
    networks = Table("network", "what it is", title="Networks", title_justify="left")
    for name, network in NETWORKS.items():
        networks.add_row(name, network.description)
    yield networks
    data = Table("data set", "what it holds", title="Data sets", title_justify="left")
    for name, dataset in DATASETS.items():
        data.add_row(name, dataset.description)
    yield data
    recipes = Table("recipe", "of the paper's", title="Recipes of `albench train`", title_justify="left")
    for name, description in recipe_file.descriptions().items():
        recipes.add_row(name, description)
    yield recipes


def cases(scenarios: Sequence[Scenario], name: str) -> Iterator[Table | str]:
    """Yield the cases of a suite, and how long they take."""
    table = Table("key", "case", title=f"Suite {name}", title_justify="left")
    for scenario in scenarios:
        table.add_row(scenario.key, scenario.describe())
    yield table
    seconds = sum(map(estimate.estimated_seconds, scenarios))
    yield f"{len(scenarios)} cases, very roughly {seconds / 60:.1f} minutes a round on a machine like this"


def machine(facts: dict[str, Any]) -> Iterator[Table]:
    """Yield what `albench.harness.environment.describe` found, and which engines run there."""
    table = Table("what", "value", title="Machine", title_justify="left")
    table.add_row("processor", f"{facts['cpu']}, {facts['usable_cores']} usable cores")
    table.add_row("memory", f"{facts['memory_bytes'] / 2**30:.1f} GiB")
    table.add_row("system", f"{facts['platform']}, Python {facts['python']}")
    table.add_row("packages", ", ".join(f"{name} {version}" for name, version in facts["packages"].items()))
    gpus = [
        f"{gpu['name']} ({gpu['memory_bytes'] / 2**30:.0f} GiB)" if gpu["memory_bytes"] else str(gpu["name"])
        for gpu in facts["gpus"]
    ]
    table.add_row("GPU", ", ".join(gpus) or f"none ({facts['gpu_reason']})")
    table.add_row("SM shares", share_availability(facts))
    table.add_row("commit", facts["commit"] or "not a checkout")
    yield table
    engines = Table("method", "engine", "runs here", "lanes", title="Engines", title_justify="left")
    for row in engine_availability(facts):
        engines.add_row(row.method, row.engine, "yes" if row.available else f"no: {row.reason}", row.lanes)
    yield engines
