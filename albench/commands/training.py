"""Training: the commands that run one case outside a sweep, `albench train` and `albench trace`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from albench.commands.options import (
    BatchSizeOption,
    BridgeWidthOption,
    DataDirOption,
    DatasetOption,
    DeviceOption,
    EngineOption,
    HiddenLayersOption,
    LanesOption,
    MicrobatchesOption,
    NoProgressOption,
    SeedOption,
    WidthOption,
    typed,
)
from albench.console import command, one_line_errors, out
from albench.errors import UsageError
from albench.harness import environment, recipe_file, records, traceable
from albench.harness.availability import refuse_missing_cuda
from albench.harness.recipe import Recipe
from albench.harness.span_file import FOLDER
from albench.harness.time_limit import time_limit

LIMIT_SECONDS = 600.0
"""Of a traced run: compiling takes half a minute, and nobody waits longer for a picture."""
CASE_OPTIONS = (
    "dataset",
    "engine",
    "hidden_layers",
    "width",
    "bridge_width",
    "batch_size",
    "lanes",
    "microbatches",
    "device",
    "seed",
)
"""What makes a case of `albench trace`; a recorded one has its own."""


def train(
    method: Annotated[str, typer.Option(help="Such as al or bp; `albench list` names them.")],
    recipe: Annotated[
        str | None,
        typer.Option(help="A recipe of the paper's tables, or a TOML file of your own; options go before it."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set; `albench list` names them.  [default: digits]")] = None,
    engine: EngineOption = None,
    network: Annotated[str | None, typer.Option(help="mlp, cnn, vgg, resnet20 or resnet32.  [default: mlp]")] = None,
    hidden_layers: Annotated[int | None, typer.Option(help="Depth ℓ.  [default: 4, or the network's]")] = None,
    width: Annotated[int | None, typer.Option(help="Units in a hidden layer.  [default: 128]")] = None,
    bridge_width: BridgeWidthOption = None,
    bridge: Annotated[str | None, typer.Option(help="How bridges read feature maps: flat or pooled.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size B.  [default: 32]")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Times that every training instance is seen.  [default: 20]")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's base rate.  [default: 0.001]")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="L2 penalty λ: λ·w is added to gradients.")] = None,
    decayed: Annotated[str | None, typer.Option(help="What it is for: all, or convolutions.")] = None,
    epsilon: Annotated[str | None, typer.Option(help="Where Adam's ε stands: as in torch, or in tensorflow 1.")] = None,
    augmentation: Annotated[str | None, typer.Option(help="Of training images: none, cifar or jitter.")] = None,
    lanes: LanesOption = None,
    microbatches: MicrobatchesOption = None,
    replicas: Annotated[int | None, typer.Option(help="Copies of the network, where the method has several.")] = None,
    device: Annotated[str | None, typer.Option(help="Where to run: cpu or cuda.  [default: cpu]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and data order.  [default: 0]")] = None,
    data_dir: DataDirOption = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Directory for log and checkpoints.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint there.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Epochs from one checkpoint to the next.")] = 1,
    no_progress: NoProgressOption = False,
) -> None:
    """Train one network and print losses and held-out accuracy after every epoch."""
    with one_line_errors(interrupted=_how_to_go_on(out_dir)):
        chosen = recipe_file.recipe_of(
            recipe,
            method=method,
            engine=engine,
            network=network,
            dataset=dataset,
            hidden_layers=hidden_layers,
            width=width,
            bridge_width=bridge_width,
            bridge=bridge,
            batch_size=batch_size,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            decayed=decayed,
            epsilon=epsilon,
            augmentation=augmentation,
            lanes=lanes,
            seed=seed,
            microbatches=microbatches,
            replicas=replicas,
            device=device,
        )
        if resume and out_dir is None:
            raise UsageError("--resume needs a run to go on with: give its directory with --out")
        if chosen.device == "cuda":  # looking at a machine takes a while
            refuse_missing_cuda(environment.describe())
        if out_dir is not None:
            traceable.writable(out_dir)
        from albench.harness import keeping, training  # torch takes seconds: only once the input is known to be good

        place = None
        if out_dir is not None:
            place = keeping.Place(directory=out_dir, resume=resume, every=checkpoint_every, command=command())
        training.train(chosen, data_dir=data_dir, console=out, plain=no_progress, place=place)


def _how_to_go_on(out_dir: Path | None) -> str:
    """Return what is said of a training that Ctrl-C ended."""
    if out_dir is None:
        return "nothing is kept of it: with --out DIR the next one can go on"
    again = command() if "--resume" in sys.argv else f"{command()} --resume"
    return f"`{again}` goes on from the last checkpoint"


def trace(
    context: typer.Context,
    source: Annotated[Path | None, typer.Argument(metavar="DIR", help="Records, or a suite, with a case…")] = None,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="…of this key, which `albench list SUITE` prints.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="al, bp, gpipe, …: without DIR and KEY.")] = None,
    dataset: DatasetOption = "digits",
    engine: EngineOption = None,
    hidden_layers: HiddenLayersOption = 8,
    width: WidthOption = 512,
    bridge_width: BridgeWidthOption = None,
    batch_size: BatchSizeOption = 128,
    minibatches: Annotated[int | None, typer.Option(help="Mini-batches N; else 12, or the case's own.")] = None,
    lanes: LanesOption = None,
    microbatches: MicrobatchesOption = None,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Directory; else traces/METHOD-ENGINE-KEY, in DIR where that holds records."),
    ] = None,
    limit: Annotated[float, typer.Option("--limit", help="Seconds after which the run is ended.")] = LIMIT_SECONDS,
    data_dir: DataDirOption = None,
) -> None:
    """Run one case and write when each task ran: a trace for ui.perfetto.dev, and a Gantt chart over the ideal."""
    with one_line_errors(interrupted="nothing was written"):
        if (method is None) == (source is None):
            raise UsageError("give a method with --method, or the directory (or suite) and the key of a case")
        if method is None:
            if given := typed(context, CASE_OPTIONS):
                raise UsageError(
                    f"{given[0]} is given with {source}: a recorded case has that of its own, leave it out or give "
                    "--method instead"
                )
            plan = traceable.planned(traceable.recorded_case(source, key), minibatches)
        else:
            recipe = Recipe(
                method=method,
                engine=engine,
                dataset=dataset,
                hidden_layers=hidden_layers,
                width=width,
                bridge_width=bridge_width,
                batch_size=batch_size,
                epochs=1,
                learning_rate=1e-3,
                lanes=lanes,
                seed=seed,
                microbatches=microbatches,
                device=device,
            )
            plan = traceable.planned(recipe.scenario(12 if minibatches is None else minibatches))
        case = plan.scenario
        if case.device == "cuda":
            refuse_missing_cuda(environment.describe())
        with_limit = time_limit(limit, remedy="give more with --limit, or trace fewer --minibatches")
        directory = traceable.writable(out_dir or traceable.trace_folder(source, case))
        # torch and matplotlib take seconds: only once the input is known to be good
        from albench.harness import tracing
        from albench.report import trace_files

        with with_limit:
            found = tracing.trace(plan, data_dir=data_dir)
        if found is not None:
            files = trace_files.write_trace(found, directory, command=command())
            lines = [trace_files.summary(found), *found.notes, *map(str, files)]
            run = directory.parent.parent
            if directory.parent.name == FOLDER and (run / records.FILE_NAME).exists():
                lines.append(f"On the page with: albench report {shlex.quote(str(run))}")
            out.print("\n".join(lines), markup=False, soft_wrap=True)
