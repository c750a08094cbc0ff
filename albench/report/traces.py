"""Traces: single runs that were looked at task by task, drawn on the page of the records that they lie beside.

    albench trace DIR KEY       writes DIR/traces/NAME: for viewers, as a Gantt chart, and the spans themselves
    albench report DIR          draws what lies in DIR/traces, each with both bubble shares and the command

Charts are drawn anew from the spans, whose file is checked (`albench.harness.span_file`); no picture that lies there
gets into a page. What cannot be drawn is named in a line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from albench.analysis.bubble import ideal
from albench.errors import UsageError
from albench.harness import span_file
from albench.harness.span_file import FOLDER
from albench.report.drawing import Drawing
from albench.report.gantt import caption_of, gantt
from albench.report.tables import markdown_text
from albench.report.trace_files import TRACE
from albench.report.words import counted

SHOWN = 6
"""Charts on a page: a reader compares a few, and each is a tenth of a megabyte and half a second."""


@dataclass(frozen=True, kw_only=True)
class Traced:
    """One traced run, drawn."""

    heading: str
    """What ran: method, engine, lanes and sizes."""
    caption: str
    """Both bubble shares and makespans, in words."""
    notes: tuple[str, ...]
    command: str
    """What made it."""
    drawing: Drawing


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What lies in a directory's ``traces``."""

    drawn: tuple[Traced, ...] = ()
    remarks: tuple[str, ...] = ()
    """What could not be drawn, or was left out, a line each."""

    @property
    def drawings(self) -> list[Drawing]:
        """The charts."""
        return [one.drawing for one in self.drawn]


NO_TRACES = Traces()


def traces_beside(source: Path) -> Traces:
    """Return the traces that lie beside the records of a directory, or of a ``records.jsonl``, by name.

    Never raises for what lies there: a damaged or foreign file is a remark. Directories that no trace was written into
    are passed over.
    """
    try:
        folder = (source if source.is_dir() else source.parent) / FOLDER
        if not folder.is_dir():
            return NO_TRACES
        found = sorted(
            one for one in folder.iterdir() if (one / span_file.FILE_NAME).exists() or (one / TRACE).exists()
        )
    except OSError as error:
        return Traces(remarks=(f"the traces beside {source} cannot be read ({error.strerror or error})",))
    drawn: list[Traced] = []
    remarks: list[str] = []
    for one in found[:SHOWN]:
        try:
            drawn.append(_traced(one, len(drawn) + 1))
        except UsageError as error:
            remarks.append(f"not drawn: {error}")
    if len(found) > SHOWN:
        more = counted(len(found) - SHOWN, "more trace")
        remarks.append(f"{more} in {folder}, of which the first {SHOWN} by name are shown: each has its own gantt.svg")
    return Traces(drawn=tuple(drawn), remarks=tuple(remarks))


def _traced(directory: Path, place: int) -> Traced:
    run = span_file.read(directory / span_file.FILE_NAME)
    trace = run.trace
    return Traced(
        heading=f"{trace.title}: {trace.sizes}",
        caption=caption_of(trace, ideal(trace)),
        notes=trace.notes,
        command=run.command,
        drawing=dataclasses.replace(gantt(trace), name=f"trace-{place}"),
    )


def traces_markdown(traces: Traces) -> list[str]:
    """Return what is said of traces as lines of Markdown; none where there are none."""
    if not traces.drawn and not traces.remarks:
        return []
    lines = ["## Traces", ""]
    lines += [f"- {markdown_text(f'{one.heading}. {one.caption} Made by: {one.command}')}" for one in traces.drawn]
    return [*lines, *[f"- {markdown_text(remark)}" for remark in traces.remarks], ""]


def with_traces(drawings: Sequence[Drawing], traces: Traces) -> list[Drawing]:
    """Return all figures of a report, the charts last."""
    return [*drawings, *traces.drawings]
