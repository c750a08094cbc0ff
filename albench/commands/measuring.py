"""Measuring: the commands that run suites, `albench quickstart` and `albench run`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from albench import overview
from albench.analysis import quality
from albench.commands.options import DataDirOption, NoProgressOption
from albench.console import command, err, names, numbers, one_line_errors, out
from albench.harness import environment, records, runner, suites, sweep_file, sweep_log
from albench.harness.availability import refuse_missing_cuda
from albench.harness.concerns import quality_warnings
from albench.harness.overrides import Overrides
from albench.harness.progress import SweepProgress
from albench.harness.scenario import Scenario

QUICKSTART_SECONDS = 150.0
"""No further round starts after this, so that measuring and rendering together stay within three minutes."""

OutOption = Annotated[
    Path, typer.Option("--out", help="Directory for records and report; an earlier run there goes on.")
]


def _measure_and_report(
    suite: str,
    scenarios: Sequence[Scenario],
    directory: Path,
    limits: runner.Limits,
    *,
    no_progress: bool,
    data_dir: Path | None,
    order_seed: int,
    retry_failed: bool,
    telemetry: bool = True,
) -> None:
    """Run a suite, print its tables and write its page."""
    if any(scenario.device == "cuda" for scenario in scenarios):
        refuse_missing_cuda(environment.describe())
    started = time.monotonic()
    with SweepProgress(out, plain=no_progress, limit_seconds=limits.sweep_seconds) as progress:
        sweep = runner.run_sweep(
            scenarios,
            directory,
            suite=suite,
            limits=limits,
            progress=progress,
            data_dir=data_dir,
            order_seed=order_seed,
            retry_failed=retry_failed,
            telemetry=telemetry,
        )
    sweep_seconds = time.monotonic() - started
    for warning in sweep.warnings:
        err.print(f"albench: {warning}", markup=False)
    if not sweep.measured:
        reasons = sorted({record.reason for record in sweep.records if record.reason})
        err.print(f"albench: nothing was measured: {'; '.join(reasons) or 'no case ran'}", markup=False)
        raise typer.Exit(1)
    from albench import report  # matplotlib takes a second: only where a page is made

    findings = report.find(sweep.records, sweep_log.read(directory))
    for table in report.terminal_tables(findings):
        out.print(table)
    page = report.write(findings, directory, command=command(), traces=report.traces_beside(directory))
    out.print(
        f"{sweep.run} cases measured now, {sweep.resumed} were on file; {sweep.stopped_because}. "
        f"{_pace(sweep.run, sweep_seconds)}\n"
        f"Records: {directory / records.FILE_NAME}\nReport:  {page}",
        markup=False,
    )
    for line in quality.summary(quality_warnings(sweep.records)):
        err.print(f"albench: {line}", markup=False)


def _pace(cases: int, seconds: float) -> str:
    """Return what a sweep took, in words."""
    return f"It took {seconds:.1f} s, {seconds / cases:.2f} s a case." if cases else "Nothing was left to do."


def quickstart(out_dir: OutOption = Path("reports/quickstart"), no_progress: NoProgressOption = False) -> None:
    """Measure AL and BP on handwritten digits, judge both, and write a report: about three minutes."""
    with one_line_errors():
        _measure_and_report(
            "quickstart",
            suites.suite_scenarios("quickstart"),
            out_dir,
            runner.Limits(rounds=5, sweep_seconds=QUICKSTART_SECONDS, case_seconds=60.0),
            no_progress=no_progress,
            data_dir=None,
            order_seed=0,
            retry_failed=True,
        )


def run(
    suite: Annotated[str, typer.Argument(help="A suite that `albench list` names, or a TOML file that is one.")],
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Directory for records and report, else reports/run-SUITE; a run there goes on."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of axes and limits to change, such as `widths = [64]`.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Methods to keep, such as al,bp.")] = None,
    engine: Annotated[str | None, typer.Option(help="Engines to keep, such as fused,eager.")] = None,
    hidden_layers: Annotated[str | None, typer.Option(help="Depths ℓ, such as 2,8,32.")] = None,
    width: Annotated[str | None, typer.Option(help="Widths.")] = None,
    batch_size: Annotated[str | None, typer.Option(help="Batch sizes B.")] = None,
    minibatches: Annotated[str | None, typer.Option(help="Mini-batches N of the timed window.")] = None,
    lanes: Annotated[str | None, typer.Option(help="Lanes K, and BP's threads; everyone on each K.")] = None,
    microbatches: Annotated[
        str | None, typer.Option(help="Microbatches M that pipelines of BP cut a mini-batch into.")
    ] = None,
    replicas: Annotated[str | None, typer.Option(help="Copies of the network, where a method has several.")] = None,
    lane_kind: Annotated[
        str | None, typer.Option(help="Lanes of one GPU: stream, sm-share (multiprocessors of their own), or both.")
    ] = None,
    lane_sms: Annotated[
        int | None, typer.Option(help="Multiprocessors of each such share, so that any number of lanes are alike.")
    ] = None,
    distinct_targets: Annotated[
        str | None, typer.Option(help="AL's target side on distinct rows only: auto, on, off, or several of them.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where to run: cpu or cuda.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's base rate.")] = None,
    bridge_factor: Annotated[
        int | None, typer.Option(help="Units in the bridges' hidden layer, in widths; the paper's networks have 5.")
    ] = None,
    initial_scale: Annotated[
        float | None, typer.Option(help="Deviation of the initial weights of AL's sigmoid layers, in He's.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="Kind of network; `albench list` names them.")] = None,
    bridge: Annotated[str | None, typer.Option(help="How bridges read feature maps: flat or pooled.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data sets; `albench list` names them.")] = None,
    seed: Annotated[str | None, typer.Option(help="Seeds of weights and data order.")] = None,
    rounds: Annotated[
        int | None, typer.Option(help="The most rounds, each runs every case once; else the suite's own.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds after which no further round goes on; else the suite's own.")
    ] = None,
    case_limit: Annotated[
        float | None, typer.Option(help="Seconds after which a case is ended; else the suite's own.")
    ] = None,
    half_width: Annotated[
        float | None,
        typer.Option(help="Share of a median within which half its interval must be for it to be known; else 0.02."),
    ] = None,
    control: Annotated[
        bool, typer.Option("--control/--no-control", help="Run the control case, and again what it flags.")
    ] = True,
    order_seed: Annotated[int, typer.Option(help="Seed of the shuffled order.")] = 0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cases again.")] = False,
    telemetry: Annotated[
        bool, typer.Option("--telemetry/--no-telemetry", help="Read cores, memory and GPUs while cases run.")
    ] = True,
    data_dir: DataDirOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the cases that would run.")] = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Measure a suite into a directory and report on it; run again, it goes on where it was."""
    with one_line_errors():
        chosen = sweep_file.suite_of(suite)
        changes = sweep_file.Changes() if config is None else sweep_file.read_changes(config)
        overrides = Overrides(
            methods=names(method, "--method"),
            engines=names(engine, "--engine"),
            hidden_layers=numbers(hidden_layers, "--hidden-layers"),
            widths=numbers(width, "--width"),
            batch_sizes=numbers(batch_size, "--batch-size"),
            minibatches=numbers(minibatches, "--minibatches"),
            lanes=numbers(lanes, "--lanes"),
            microbatches=numbers(microbatches, "--microbatches"),
            replicas=numbers(replicas, "--replicas"),
            lane_kinds=names(lane_kind, "--lane-kind"),
            lane_sms=lane_sms,
            distinct_targets=names(distinct_targets, "--distinct-targets"),
            device=device,
            precision=precision,
            learning_rate=learning_rate,
            bridge_factor=bridge_factor,
            initial_scale=initial_scale,
            network=network,
            bridge=bridge,
            datasets=names(dataset, "--dataset"),
            seeds=numbers(seed, "--seed"),
        )
        scenarios = suites.suite_scenarios(chosen, overrides.over(changes.overrides), name=suite)
        limits = sweep_file.limits_of(
            chosen,
            changes,
            rounds=rounds,
            sweep_seconds=time_limit,
            case_seconds=case_limit,
            relative_half_width=half_width,
            control=control,
        )
        if dry_run:
            for one in overview.cases(scenarios, suite):
                out.print(one)
            return
        _measure_and_report(
            Path(suite).name,  # of a file with its end, so that who reads the records can tell it from ours
            scenarios,
            out_dir or Path("reports") / f"run-{Path(suite).stem}",
            limits,
            no_progress=no_progress,
            data_dir=data_dir,
            order_seed=order_seed,
            retry_failed=retry_failed,
            telemetry=telemetry,
        )
