"""Layer figure: Figures 5 and 6 from the runs of a reproduction, raw data and layers, one method a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from albench.errors import UsageError
from albench.methods import method_named
from albench.report.drawing import Drawing
from albench.report.embedding import Panel, chosen, embedding_drawing, estimated_seconds
from albench.reproduction.metafeatures import TrainedNetwork
from albench.reproduction.plan import RunPlan, target_named
from albench.reproduction.runs import Choices, directory_of, recipe_for


def layer_drawing(
    target: str,
    plans: Sequence[RunPlan],
    choices: Choices,
    out: Path,
    *,
    data_dir: Path | None,
    instances: int,
    console: Console,
) -> Drawing:
    """Draw `instances` held-out instances in every layer that the figure shows; says before how long that takes."""
    found = target_named(target)
    if found.layers is None or not plans:
        raise UsageError(f"{target} is no figure of layers, or has no runs")
    rows: dict[str, list[Panel]] = {}
    for plan in plans:
        names = found.layers.of_method[plan.method]
        with TrainedNetwork(recipe_for(plan, choices), directory_of(out, plan), data_dir=data_dir) as network:
            total = len(network.labels)
            own = chosen(total, instances, plan.seed)  # the same for every method: one seed, one data set
            labels = network.labels[own]
            raw, outputs = network.layers(names, own)
        first = next((panels[0] for panels in rows.values()), Panel(title="raw data", features=raw))
        layers = zip(found.layers.titles, names, strict=True)
        panels = [Panel(title=title, features=outputs[name]) for title, name in layers]
        rows[method_named(plan.method).title] = [first, *panels]
    pictures = 1 + len(rows) * len(found.layers.titles)
    seconds = estimated_seconds(len(labels), pictures)
    console.print(f"t-SNE of {len(labels)} instances, {pictures} times: about {seconds:.0f} s", markup=False)
    return embedding_drawing(rows, labels, name=target, title=found.title, total=total, seed=plans[0].seed)
