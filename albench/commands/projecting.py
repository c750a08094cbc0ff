"""Projecting: the command `albench project`, measured times of one lane replayed on thousands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from albench.console import NOTHING_LOST, command, numbers, one_line_errors, out
from albench.harness import records


def project(
    source: Annotated[Path, typer.Argument(help="A directory or records.jsonl that albench wrote.")],
    lanes: Annotated[str | None, typer.Option(help="Lanes K to project onto; else 1,2,4,…,4096.")] = None,
    microbatches: Annotated[
        str | None,
        typer.Option(
            help="Microbatches M of which pipelines of BP take the best; else 1,4,8,32 and what was measured."
        ),
    ] = None,
    hidden_layers: Annotated[int | None, typer.Option(help="A measured depth ℓ; else the deepest.")] = None,
    components: Annotated[
        int | None, typer.Option(help="Components of a deeper network, the measured inner ones repeated.")
    ] = None,
    minibatches: Annotated[int | None, typer.Option(help="Mini-batches N; else as many as were measured.")] = None,
    link_latency: Annotated[str | None, typer.Option(help="Latency of a hand-over, such as 5us; else none.")] = None,
    link_bandwidth: Annotated[
        str | None, typer.Option(help="Bandwidth of a hand-over in GB/s, such as 25; else without end.")
    ] = None,
    link: Annotated[
        str | None, typer.Option(help="`measured`: time a hand-over between two processes of this machine now.")
    ] = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Where the files go; else beside the records.")] = None,
) -> None:
    """Project what was measured on one lane onto thousands: AL, GPipe, 1F1B, interleaved 1F1B, BP."""
    with one_line_errors(interrupted=NOTHING_LOST):
        found = records.read(source)
        from albench.report import projection_files, projections  # matplotlib takes a second: only for records

        asked = projections.ProjectionOptions(
            lanes=numbers(lanes, "--lanes") or projections.DEFAULT_LANES,
            microbatches=numbers(microbatches, "--microbatches"),
            hidden_layers=hidden_layers,
            components=components,
            minibatches=minibatches,
        )
        asked = projection_files.with_link(asked, link, link_latency, link_bandwidth)
        directory = out_dir or (source if source.is_dir() else source.parent)
        made = projection_files.render_projection(found, directory, asked, command=command())
        projection_files.show_projections(made, out)
        out.print(f"Projected: {directory / 'projection.md'}", markup=False)
