"""The command line: thin. It reads options, calls the rooms below, and turns bad input into one line and status 2."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

import albench
from albench import overview
from albench.commands import measuring, projecting, reading, reproducing, training
from albench.console import one_line_errors, out
from albench.harness import environment, suites, sweep_file
from albench.harness.availability import with_gpus_of_torch

app = typer.Typer(
    help="Pipelined Associated Learning against back-propagation: measure, judge, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for function in (
    measuring.quickstart,
    measuring.run,
    reading.report,
    reading.compare,
    reading.export,
    reading.schema,
    projecting.project,
    training.train,
    training.trace,
    reproducing.reproduce,
):
    app.command()(function)


@app.command()
def env() -> None:
    """Show what this machine has, which engines can run on it, and why the others cannot."""
    for table in overview.machine(with_gpus_of_torch(environment.describe())):
        out.print(table)


@app.command("list")
def list_(
    suite: Annotated[str | None, typer.Argument(help="A suite, or a TOML file that is one: lists its cases.")] = None,
) -> None:
    """List suites, methods and data sets, or the cases of one suite and the time that they take."""
    with one_line_errors():
        if suite is None:
            shown = overview.everything()
        else:
            shown = overview.cases(suites.suite_scenarios(sweep_file.suite_of(suite), name=suite), suite)
        for one in shown:
            out.print(one)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Pipelined Associated Learning against back-propagation: measure, judge, report."""
    if show:
        out.print(f"albench {albench.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or a pipe that cannot show "ℓ" gets "?"
            stream.reconfigure(errors="replace")
    app()
