"""Reading: the commands that take records: `albench report`, `export`, `compare` and `schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from albench.analysis.comparison import NOISE
from albench.analysis.comparison import compare as compare_pairs
from albench.analysis.failure_conditions import failing, parse_conditions, parse_percentage
from albench.console import NOTHING_LOST, command, err, one_line_errors, out
from albench.errors import UsageError
from albench.harness import benchmark_json, records, sweep_log
from albench.harness import export as exporting
from albench.harness import schema as schemas
from albench.harness.run_pair import is_benchmark_json, pair_runs, read_run, same_run


def report(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN",
            help="A directory or records.jsonl that albench wrote, or a JSON file of pytest-benchmark; two, A and B: "
            "side by side.",
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Where the page goes; else beside the records, of two in a directory beside B's."),
    ] = None,
    from_benchmark: Annotated[
        Path | None, typer.Option("--from-benchmark", help="A JSON file of pytest-benchmark, whatever it is called.")
    ] = None,
) -> None:
    """Render records as a page, figures and tables; two runs, A and B, as a page that has them side by side."""
    with one_line_errors(interrupted=NOTHING_LOST):
        given = [*(sources or ()), *([from_benchmark] if from_benchmark else ())]
        if not given or (from_benchmark and sources):
            raise UsageError("give either a directory with records or --from-benchmark FILE.json")
        if len(given) > 2:
            raise UsageError(f"{len(given)} runs are given: give one, or two to have them side by side")
        if len(given) == 2:
            _report_pair(given[0], given[1], out_dir)
            return
        source = given[0]
        benchmark = from_benchmark is not None or is_benchmark_json(source)
        if benchmark:
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
        traces = rendering.NO_TRACES if benchmark else rendering.traces_beside(source)
        page = rendering.write(findings, directory, command=command(), traces=traces)
        for remark in traces.remarks:
            err.print(f"albench: {remark}", markup=False)
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


def export(
    sources: Annotated[list[Path], typer.Argument(help="Directories or records.jsonl files that albench wrote.")],
    out_file: Annotated[Path, typer.Option("--out", help="The file to write.")],
    form: Annotated[
        str | None, typer.Option("--format", help="csv, parquet or json; else as the file's name ends.")
    ] = None,
) -> None:
    """Write records as a table, or as one JSON array, for other programs."""
    with one_line_errors(interrupted=NOTHING_LOST):
        count = exporting.export(sources, out_file, form)
        out.print(f"{count} records: {out_file}", markup=False)


def schema() -> None:
    """Print the JSON Schema of a record, one line of a records.jsonl."""
    with one_line_errors(interrupted=NOTHING_LOST):
        typer.echo(schemas.published(), nl=False)


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
    with one_line_errors(interrupted=NOTHING_LOST):
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
