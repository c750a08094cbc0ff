"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Plain lines instead of a progress bar.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Where downloaded data sets lie; else $ALBENCH_DATA_DIR.")
]

# Of one case, run outside a sweep.
DatasetOption = Annotated[
    str, typer.Option(help="digits, mnist, fashion-mnist, cifar10, cifar100, folder:PATH or synthetic.")
]
EngineOption = Annotated[str | None, typer.Option(help="Engine; else the method's first.")]
HiddenLayersOption = Annotated[int, typer.Option(help="Depth ℓ.")]
WidthOption = Annotated[int, typer.Option(help="Units in a hidden layer.")]
BridgeWidthOption = Annotated[int | None, typer.Option(help="Units in the bridges' hidden layer; none: no such.")]
BatchSizeOption = Annotated[int, typer.Option(help="Batch size B.")]
LanesOption = Annotated[int | None, typer.Option(help="Lanes K, or BP's threads; else all cores where they help.")]
MicrobatchesOption = Annotated[
    int | None, typer.Option(help="Microbatches M of pipelines of BP; else the fewest that can be.")
]
DeviceOption = Annotated[str, typer.Option(help="Where to run: cpu or cuda.")]
SeedOption = Annotated[int, typer.Option(help="Seed of weights and data order.")]


def typed(context: typer.Context, names: Iterable[str]) -> list[str]:
    """Return the options of these parameters that were typed, as they are typed; defaults are not among them."""
    sources = {name: context.get_parameter_source(name) for name in names}
    return [
        f"--{name.replace('_', '-')}" for name, source in sources.items() if source and source.name == "COMMANDLINE"
    ]
