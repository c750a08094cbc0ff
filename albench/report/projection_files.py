"""Projection files: a projection asked for in words, and written as Markdown, comma-separated values and figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from albench.analysis.link import FREE, Link, bytes_per_second, latency_seconds, link_through
from albench.errors import UsageError
from albench.harness.records import Record
from albench.report.projection_figures import projection_drawings
from albench.report.projection_tables import (
    deviation_sentence,
    heading,
    missing_words,
    projection_csv,
    projection_markdown,
    projection_tables,
)
from albench.report.projections import Projection, ProjectionOptions, projections_of
from albench.report.tables import terminal
from albench.whole_file import write_whole

MEASURED = "measured"
"""What `--link` may be: the link of this machine, timed now."""


def with_link(
    options: ProjectionOptions, link: str | None, latency: str | None, bandwidth: str | None
) -> ProjectionOptions:
    """Return the options with the link that was asked for.

    `latency` such as "5us", `bandwidth` in GB/s; `link` "measured" takes the place of both. Raises `UsageError`.
    """
    if link is None:
        given = Link(
            latency_seconds=FREE.latency_seconds if latency is None else latency_seconds(latency),
            bytes_per_second=FREE.bytes_per_second if bandwidth is None else bytes_per_second(bandwidth),
        )
        return dataclasses.replace(options, link=given)
    if link != MEASURED or latency is not None or bandwidth is not None:
        raise UsageError(
            f"link is {link!r}: give {MEASURED!r} and neither latency nor bandwidth, or these two and no link"
        )
    from albench.engines.hand_over import SOURCE, hand_over_times  # torch takes seconds

    return dataclasses.replace(options, link=link_through(*hand_over_times()), link_source=SOURCE)


def render_projection(
    records: Sequence[Record], out: Path, options: ProjectionOptions, *, command: str
) -> list[Projection]:
    """Project from `records` and write ``projection.md``, ``projection.csv`` and figures into the directory `out`.

    `command` is what a reader types to make them again. Each file appears whole or not at all. Records that nothing can
    be projected from, or a directory that cannot be written, are a `UsageError`.
    """
    projections = projections_of(records, options)
    drawings = projection_drawings(projections)
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        for drawing in drawings:
            write_whole(out / "figures" / f"{drawing.name}.svg", drawing.svg)
            write_whole(out / "figures" / f"{drawing.name}.png", drawing.png)
        write_whole(out / "projection.csv", projection_csv(projections))
        write_whole(out / "projection.md", projection_markdown(projections, drawings, command=command))
    except OSError as error:
        raise UsageError(
            f"the projection cannot be written into {out} ({error.strerror or error}): mend that and give the same "
            "command again, or give another directory with --out"
        ) from None
    return projections


def show_projections(projections: Sequence[Projection], console: Console) -> None:
    """Print the tables and what they take for granted."""
    for projection in projections:
        for table in projection_tables(projection):
            console.print(terminal(table))
        for words in missing_words(projection):
            console.print(words, markup=False)
        console.print(f"What this takes for granted, {heading(projection)}:", markup=False)
        for sentence in projection.assumptions:
            console.print(f"- {sentence}", markup=False)
        console.print()
    for projection in projections:
        console.print(f"{projection.title}: {deviation_sentence(projection.checks)}", markup=False)
