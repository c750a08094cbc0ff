"""Trace files: what ``albench trace`` leaves in its directory."""

from __future__ import annotations

from pathlib import Path

from albench.analysis.bubble import ideal
from albench.errors import UsageError
from albench.harness import span_file
from albench.report.chrome_trace import chrome_json
from albench.report.gantt import caption_of, gantt
from albench.trace import Trace
from albench.whole_file import write_whole

TRACE, GANTT = "trace.json", "gantt"


def write_trace(trace: Trace, out: Path, *, command: str) -> list[Path]:
    """Write a trace, its Gantt chart and its spans into the directory `out` and return the files.

    `command` is what made it. Each file appears whole or not at all; the spans come last, and with them the report
    finds the trace. A directory that cannot be written is a `UsageError`.
    """
    drawing = gantt(trace)
    contents: dict[str, str | bytes] = {TRACE: chrome_json(trace)}
    contents |= {f"{GANTT}.svg": drawing.svg, f"{GANTT}.png": drawing.png}
    contents[span_file.FILE_NAME] = span_file.content(trace, command=command)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(out / name, content)
    except OSError as error:
        raise UsageError(
            f"the trace cannot be written into {out} ({error.strerror or error}): mend that, or give another "
            "directory with --out"
        ) from None
    return [out / name for name in contents]


def summary(trace: Trace) -> str:
    """Return a trace in two lines for a terminal."""
    return f"{trace.title}, {trace.sizes}\n{caption_of(trace, ideal(trace))}"
