"""The command line: thin. It reads options, calls the rooms below, and turns bad input into one line and status 2."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import albench
from albench import overview, project_command
from albench.analysis import quality
from albench.analysis.comparison import NOISE
from albench.analysis.comparison import compare as compare_pairs
from albench.analysis.failure_conditions import failing, parse_conditions, parse_percentage
from albench.console import command, err, names, numbers, one_line_errors, out
from albench.errors import UsageError
from albench.harness import (
    benchmark_json,
    environment,
    records,
    runner,
    schema,
    suites,
    sweep_file,
    sweep_log,
    traceable,
)
from albench.harness import export as exporting
from albench.harness.availability import refuse_missing_cuda, with_gpus_of_torch
from albench.harness.concerns import quality_warnings
from albench.harness.overrides import Overrides
from albench.harness.progress import SweepProgress
from albench.harness.recipe import Recipe
from albench.harness.run_pair import pair_runs, read_run, same_run
from albench.harness.scenario import Scenario

app = typer.Typer(
    help="Pipelined Associated Learning against back-propagation: measure, judge, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
QUICKSTART_SECONDS = 150.0
"""No further round starts after this, so that measuring and rendering together stay within three minutes."""

OutOption = Annotated[
    Path, typer.Option("--out", help="Directory for records and report; an earlier run there goes on.")
]
NoProgressOption = Annotated[bool, typer.Option("--no-progress", help="Plain lines instead of a progress bar.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Where downloaded data sets lie; else $ALBENCH_DATA_DIR.")
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
    page = report.write(findings, directory, command=command())
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


@app.command()
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


@app.command()
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
    dataset: Annotated[str | None, typer.Option(help="Data sets.")] = None,
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
            datasets=names(dataset, "--dataset"),
            seeds=numbers(seed, "--seed"),
        )
        scenarios = suites.suite_scenarios(chosen, overrides.over(changes.overrides), name=suite)
        if dry_run:
            for one in overview.cases(scenarios, suite):
                out.print(one)
            return
        _measure_and_report(
            Path(suite).stem,
            scenarios,
            out_dir or Path("reports") / f"run-{Path(suite).stem}",
            sweep_file.limits_of(
                chosen,
                changes,
                rounds=rounds,
                sweep_seconds=time_limit,
                case_seconds=case_limit,
                relative_half_width=half_width,
                control=control,
            ),
            no_progress=no_progress,
            data_dir=data_dir,
            order_seed=order_seed,
            retry_failed=retry_failed,
            telemetry=telemetry,
        )


@app.command()
def report(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN", help="A directory or records.jsonl that albench wrote; two, A and B: side by side."
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Where the page goes; else beside the records, of two in a directory beside B's."),
    ] = None,
    from_benchmark: Annotated[
        Path | None, typer.Option("--from-benchmark", help="A JSON file of pytest-benchmark instead.")
    ] = None,
) -> None:
    """Render records as a page, figures and tables; two runs, A and B, as a page that has them side by side."""
    with one_line_errors():
        given = [*(sources or ()), *([from_benchmark] if from_benchmark else ())]
        if not given or (from_benchmark and sources):
            raise UsageError("give either a directory with records or --from-benchmark FILE.json")
        if len(given) > 2:
            raise UsageError(f"{len(given)} runs are given: give one, or two to have them side by side")
        if len(given) == 2:
            _report_pair(given[0], given[1], out_dir)
            return
        source = given[0]
        if from_benchmark is not None:
            found, sweep_ends = benchmark_json.read(source), []
            directory = out_dir or source.with_suffix("")
        else:
            found, sweep_ends = records.read(source), sweep_log.read(source)
            directory = out_dir or (source if source.is_dir() else source.parent)
        if not found:
            raise UsageError(
                f"no measured record in {source}: run a suite into it first, for example `albench quickstart`"
            )
        from albench import report as rendering

        findings = rendering.find(found, sweep_ends)
        page = rendering.write(findings, directory, command=command())
        for table in rendering.terminal_tables(findings):
            out.print(table)
        out.print(f"Report: {page}", markup=False)


def _report_pair(before: Path, after: Path, out_dir: Path | None) -> None:
    """Render two runs side by side."""
    if same_run(before, after):
        raise UsageError(f"A and B are both {before}: give two runs, or one alone for its own report")
    runs = [(str(path), read_run(path), sweep_log.read(path)) for path in (before, after)]
    from albench import report as rendering

    both = rendering.side_by_side(*runs)
    page = rendering.write_pair(both, out_dir or rendering.pair_directory(before, after), command=command())
    for table in rendering.pair_terminal_tables(both):
        out.print(table)
    out.print(f"{rendering.pair_headline(both)}\nReport: {page}", markup=False)


app.command()(project_command.project)


@app.command()
def export(
    sources: Annotated[list[Path], typer.Argument(help="Directories or records.jsonl files that albench wrote.")],
    out_file: Annotated[Path, typer.Option("--out", help="The file to write.")],
    form: Annotated[
        str | None, typer.Option("--format", help="csv, parquet or json; else as the file's name ends.")
    ] = None,
) -> None:
    """Write records as a table, or as one JSON array, for other programs."""
    with one_line_errors():
        count = exporting.export(sources, out_file, form)
        out.print(f"{count} records: {out_file}", markup=False)


@app.command("schema")
def schema_() -> None:
    """Print the JSON Schema of a record, one line of a records.jsonl."""
    with one_line_errors():
        typer.echo(schema.published(), nl=False)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="A directory, records.jsonl or pytest-benchmark JSON.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The run that is compared with A.")],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="Exit with 1 on slower:5%, faster:5%, can't-tell, failed or missing; comma-separated."),
    ] = None,
    noise: Annotated[str, typer.Option(help="Differences under this are called the same.")] = f"{100 * NOISE:g}%",
    markdown: Annotated[Path | None, typer.Option(help="A file for the same tables in Markdown.")] = None,
) -> None:
    """Say which cases became faster or slower from run A to run B, and where that cannot be told."""
    with one_line_errors():
        threshold = parse_percentage(noise, "--noise")
        conditions = parse_conditions(fail_on or (), noise=threshold)
        pair = pair_runs(read_run(before), read_run(after))
        comparison = compare_pairs(pair.pairs, noise=threshold)
        from albench.report import comparison as words  # matplotlib takes a second: only for input that is good

        words.show(pair, comparison, console=out, markdown_file=markdown)
        met = failing(comparison, conditions, failed=pair.lost(missing=False), missing=pair.lost(missing=True))
        for line in met:
            err.print(f"albench: {line}", markup=False)
        if met:
            raise typer.Exit(1)


@app.command()
def train(
    method: Annotated[str, typer.Option(help="Such as al or bp; `albench list` names them.")],
    dataset: Annotated[str, typer.Option(help="digits, mnist or synthetic.")] = "digits",
    engine: Annotated[str | None, typer.Option(help="Engine; else the method's first.")] = None,
    hidden_layers: Annotated[int, typer.Option(help="Depth ℓ.")] = 4,
    width: Annotated[int, typer.Option(help="Units in a hidden layer.")] = 128,
    bridge_width: Annotated[int | None, typer.Option(help="Units in the bridges' hidden layer; none: no such.")] = None,
    batch_size: Annotated[int, typer.Option(help="Batch size B.")] = 32,
    epochs: Annotated[int, typer.Option(help="Times that every training instance is seen.")] = 20,
    learning_rate: Annotated[float, typer.Option(help="Adam's base rate.")] = 1e-3,
    lanes: Annotated[int | None, typer.Option(help="Lanes K, or BP's threads; else all cores where they help.")] = None,
    microbatches: Annotated[
        int | None, typer.Option(help="Microbatches M of pipelines of BP; else the fewest that can be.")
    ] = None,
    replicas: Annotated[int, typer.Option(help="Copies of the network, where the method has several.")] = 1,
    device: Annotated[str, typer.Option(help="Where to run: cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of weights and data order.")] = 0,
    data_dir: DataDirOption = None,
    no_progress: NoProgressOption = False,
) -> None:
    """Train one network and print losses and held-out accuracy after every epoch."""
    with one_line_errors():
        recipe = Recipe(
            method=method,
            engine=engine,
            dataset=dataset,
            hidden_layers=hidden_layers,
            width=width,
            bridge_width=bridge_width,
            batch_size=batch_size,
            epochs=epochs,
            learning_rate=learning_rate,
            lanes=lanes,
            seed=seed,
            microbatches=microbatches,
            replicas=replicas,
            device=device,
        )
        if device == "cuda":  # looking at a machine takes a while
            refuse_missing_cuda(environment.describe())
        from albench.harness import training  # torch takes seconds: only once the input is known to be good

        training.train(recipe, data_dir=data_dir, console=out, plain=no_progress)


@app.command("trace")
def trace_(
    source: Annotated[Path | None, typer.Argument(metavar="DIR", help="Records, or a suite, with a case…")] = None,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="…of this key, which `albench list SUITE` prints.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="al, bp, gpipe, …: without DIR and KEY.")] = None,
    dataset: Annotated[str, typer.Option(help="digits, mnist or synthetic.")] = "digits",
    engine: Annotated[str | None, typer.Option(help="Engine; else the method's first.")] = None,
    hidden_layers: Annotated[int, typer.Option(help="Depth ℓ.")] = 8,
    width: Annotated[int, typer.Option(help="Units in a hidden layer.")] = 512,
    bridge_width: Annotated[int | None, typer.Option(help="Units in the bridges' hidden layer; none: no such.")] = None,
    batch_size: Annotated[int, typer.Option(help="Batch size B.")] = 128,
    minibatches: Annotated[int | None, typer.Option(help="Mini-batches N; else 12, or the case's own.")] = None,
    lanes: Annotated[int | None, typer.Option(help="Lanes K, or BP's threads; else all cores where they help.")] = None,
    microbatches: Annotated[
        int | None, typer.Option(help="Microbatches M of pipelines of BP; else the fewest that can be.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to run: cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of weights and data order.")] = 0,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Directory; else traces/METHOD-ENGINE-KEY.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Run one case and write when each task ran: a trace for ui.perfetto.dev, and a Gantt chart over the ideal."""
    with one_line_errors(interrupted="nothing was written"):
        if (method is None) == (source is None):
            raise UsageError("give a method with --method, or the directory (or suite) and the key of a case")
        if method is None:
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
        directory = traceable.writable(out_dir or Path("traces") / f"{case.method}-{case.engine}-{case.key}")
        from albench.harness import (
            tracing,  # torch and matplotlib take seconds: only once the input is known to be good
        )
        from albench.report import trace_files

        if (found := tracing.trace(plan, data_dir=data_dir)) is not None:
            files = trace_files.write_trace(found, directory)
            lines = [trace_files.summary(found), *found.notes, *map(str, files)]
            out.print("\n".join(lines), markup=False, soft_wrap=True)


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
    app()
