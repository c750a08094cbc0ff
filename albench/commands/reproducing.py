"""Reproducing: `albench reproduce`, which trains what a table or figure of the paper takes and shows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from albench.commands.options import DataDirOption, NoProgressOption
from albench.console import command, names, numbers, one_line_errors, out
from albench.errors import UsageError, unknown_name
from albench.harness import environment, traceable
from albench.harness.availability import refuse_missing_cuda
from albench.reproduction.comparison import compare
from albench.reproduction.plan import SEEDS, TARGETS, RunPlan, planned_runs, target_named
from albench.reproduction.runs import Choices, directory_of, reached, recipe_for

INSTANCES = 2000
"""Instances in a figure: more take minutes a panel and hide each other."""


def reproduce(
    target: Annotated[str, typer.Argument(help=f"{', '.join(TARGETS)}.")],
    epochs: Annotated[int | None, typer.Option(help="Epochs of each run; else the recipe's 200.")] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(map(str, SEEDS)),
    datasets: Annotated[str | None, typer.Option(help="Only these, such as cifar10.")] = None,
    networks: Annotated[str | None, typer.Option(help="Only these, such as mlp,cnn.")] = None,
    methods: Annotated[str | None, typer.Option(help="Only these, of al, bp and dtp.")] = None,
    components: Annotated[str | None, typer.Option(help="Component layers of Tables 5 and 6.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size B; else the recipe's.")] = None,
    learning_rate: Annotated[
        str | None, typer.Option(help="Base rate, as 5e-4 or al=5e-4,dtp=1e-4; else each recipe's own.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to run: cpu or cuda.")] = "cpu",
    cifar: Annotated[str | None, typer.Option(help="Stands in for CIFAR-10, such as folder:PATH.")] = None,
    cifar100: Annotated[str | None, typer.Option(help="Stands in for CIFAR-100, such as folder:PATH.")] = None,
    instances: Annotated[int, typer.Option(help="Instances that a figure draws.")] = INSTANCES,
    out_dir: Annotated[Path, typer.Option("--out", help="Directory of runs and pages.")] = Path("reproduction"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is left, and how long it takes.")] = False,
    data_dir: DataDirOption = None,
    no_progress: NoProgressOption = False,
) -> None:
    """Train what a table or figure of the paper takes and show both; what was stopped goes on where it was."""
    with one_line_errors(interrupted="the same command goes on from the last checkpoint"):
        plans = planned_runs(
            target,
            seeds=numbers(seeds, "--seeds") or (),
            datasets=names(datasets, "--datasets"),
            networks=names(networks, "--networks"),
            methods=names(methods, "--methods"),
            components=numbers(components, "--components"),
        )
        kind = target_named(target).kind
        rate, method_rates = rates(learning_rate, tuple(dict.fromkeys(plan.method for plan in plans)))
        choices = Choices(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=rate,
            method_rates=method_rates,
            device=device,
            datasets=stand_ins({"cifar10": cifar, "cifar100": cifar100}, plans),
        )
        for plan in plans:
            recipe_for(plan, choices)  # all of them are looked at before one is trained
        if device == "cuda":
            refuse_missing_cuda(environment.describe())
        # torch and matplotlib take seconds: only once the input is known to be good
        from albench.reproduction import execution

        if kind == "figure":
            from albench.report.embedding import check_count

            check_count(instances)  # now, and not when all is trained
        if not dry_run:
            traceable.writable(out_dir)
        execution.refuse_others(plans, choices, out_dir)
        ahead = execution.outlook(plans, choices, out_dir, data_dir=data_dir, kind=kind)
        out.print(ahead.words(), markup=False, soft_wrap=True)
        if dry_run:
            return

        def show(*, last: bool = False) -> None:
            _show(target, plans, choices, out_dir, data_dir=data_dir, instances=instances, last=last)

        execution.train_all(
            ahead.plans,
            choices,
            out_dir,
            data_dir=data_dir,
            console=out,
            plain=no_progress,
            command=command(),
            after_each=show,
        )
        show(last=True)


def stand_ins(given: Mapping[str, str | None], plans: Sequence[RunPlan]) -> dict[str, str]:
    """Return what stands in for a data set, of those that are given; `UsageError` for one that no run is on."""
    found = {name: one for name, one in given.items() if one is not None}
    for name, one in found.items():
        if all(plan.dataset != name for plan in plans):
            raise UsageError(f"{one!r} is to stand in for {name}, and none of these runs is on it: leave it out")
    return found


def rates(text: str | None, methods: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """Return the rate for all methods and those for one each, of "5e-4", "al=5e-4,dtp=1e-4" or both in a list.

    Raises `UsageError` for what is none of these.
    """
    everyone: list[float] = []
    own: dict[str, float] = {}
    for part in names(text, "--learning-rate") or ():
        method, equals, number = part.rpartition("=")
        try:
            rate = float(number)
        except ValueError:
            raise UsageError(f"--learning-rate is {text!r}: give a rate such as 5e-4, or al=5e-4,dtp=1e-4") from None
        if equals and method.strip() not in methods:
            raise unknown_name("method of --learning-rate", method.strip(), methods)
        if equals and method.strip() in own:
            raise UsageError(f"--learning-rate is {text!r}: give one rate for {method.strip()}")
        if equals:
            own[method.strip()] = rate
        else:
            everyone.append(rate)
    if len(everyone) > 1:
        raise UsageError(f"--learning-rate is {text!r}: give one rate for all, others as METHOD=RATE")
    return (everyone[0] if everyone else None), own


def _show(
    target: str,
    plans: Sequence[RunPlan],
    choices: Choices,
    out_dir: Path,
    *,
    data_dir: Path | None,
    instances: int,
    last: bool,
) -> None:
    """Write the page of what lies on disk; the last time with its figure, which takes a minute, and in the terminal."""
    from albench.report import reproduction as rendering
    from albench.report.layer_figure import layer_drawing
    from albench.reproduction.metafeatures import find_distances

    kind = target_named(target).kind
    if kind == "distances":
        find_distances(plans, choices, out_dir, data_dir=data_dir)
    drawings = []
    if kind == "figure" and last:
        drawings.append(
            layer_drawing(target, plans, choices, out_dir, data_dir=data_dir, instances=instances, console=out)
        )
    runs = [reached(plan, recipe_for(plan, choices), directory_of(out_dir, plan)) for plan in plans]
    begun = tuple(run for run in runs if run is not None)
    found = rendering.Reproduction(
        target=target,
        rows=compare(target, plans, begun),
        plans=tuple(plans),
        reached=begun,
        drawings=tuple(drawings),
    )
    page = rendering.write_reproduction(found, out_dir / target, command=command())
    if last:
        for table in rendering.terminal_tables(found):
            out.print(table)
        out.print(f"{rendering.headline(found)}\nPage: {page}", markup=False)
