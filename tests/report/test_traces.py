"""Traces beside records: drawn on their page with both bubble shares and the command, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from albench.analysis.bubble import ideal_spans
from albench.errors import UsageError
from albench.harness import span_file
from albench.harness.records import RecordFile
from albench.report import find, write
from albench.report.trace_files import write_trace
from albench.report.traces import NO_TRACES, SHOWN, traces_beside
from tests.test_trace import trace

from . import made_up
from .conftest import HOSTILE
from .test_page import Outline, plain

TRACE = trace(ideal_spans([1.0, 1.0], 3, [range(0, 1), range(1, 2)]), notes=("one lane was slow",))
COMMAND = "albench trace 'runs/<a>' 0123"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a trace, and beside it everything that can lie there instead of one."""
    folder = tmp_path_factory.mktemp("run")
    with RecordFile(folder) as file:
        file.append(made_up.record(made_up.IDLE, seconds=1.0))
    traces = folder / "traces"
    write_trace(TRACE, traces / "a-good", command=COMMAND)
    (traces / "b-older").mkdir()
    (traces / "b-older" / "trace.json").write_text("{}")
    (traces / "c-foreign").mkdir()
    (traces / "c-foreign" / "spans.json").write_text(HOSTILE)
    (traces / "d-else").mkdir()
    (traces / "d-else" / "notes.txt").write_text("mine")
    (traces / "file").write_text("in the way")
    return folder


def test_what_can_be_drawn_is_and_the_rest_is_a_line_each(run: Path) -> None:
    for source in (run, run / "records.jsonl"):
        traces = traces_beside(source)
        (one,) = traces.drawn
        assert one.heading == "AL threads, 2 lanes: ℓ = 4"
        assert one.caption.startswith("Bubble (share of the lanes' time in which nothing runs): measured 25.0 %, ideal")
        assert one.command == COMMAND
        assert [line.partition(" (")[0] for line in traces.remarks] == [
            f"not drawn: {run}/traces/b-older/spans.json is not there: trace the case again with `albench trace`",
            f"not drawn: {run}/traces/c-foreign/spans.json is no trace of albench",
        ]


def test_the_page_has_the_chart_its_words_and_how_to_make_it_again(run: Path, tmp_path: Path) -> None:
    traces = traces_beside(run)
    page = write(find([made_up.record(made_up.IDLE, seconds=1.0)]), tmp_path, command="albench report", traces=traces)
    outline = Outline(page.read_text(encoding="utf-8"))
    assert outline.faults == []
    assert outline.open == []
    (one,) = traces.drawn
    for words in (one.caption, one.command, one.drawing.reading, one.drawing.limits, *one.notes, *traces.remarks):
        assert plain(words) in outline.text
    (picture,) = [values for tag, values in outline.tags if tag == "img"]
    assert picture["alt"] == one.drawing.alt
    assert (tmp_path / "figures" / "trace-1.png").exists()
    told = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "## Traces" in told
    assert "measured 25.0 %" in told
    assert "](figures/trace-1.png)" in told


def test_no_traces_no_section(tmp_path: Path) -> None:
    assert traces_beside(tmp_path) == traces_beside(tmp_path / "none") == NO_TRACES
    page = write(find([made_up.record(made_up.IDLE, seconds=1.0)]), tmp_path, command="albench report")
    assert 'id="traces"' not in page.read_text(encoding="utf-8")
    assert "## Traces" not in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_a_few_of_many_are_drawn_and_the_others_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def read(path: Path) -> span_file.TracedRun:
        seen.append(path.parent.name)
        raise UsageError("no")

    monkeypatch.setattr(span_file, "read", read)
    for i in range(SHOWN + 2):
        (tmp_path / "traces" / f"{i}").mkdir(parents=True)
        (tmp_path / "traces" / f"{i}" / "spans.json").write_text("")
    assert traces_beside(tmp_path).remarks[-1].startswith("2 more traces in")
    assert seen == [str(i) for i in range(SHOWN)]


def test_a_run_that_no_schedule_has_is_a_line(tmp_path: Path) -> None:
    """Its lanes wait for each other: nothing can be replayed."""
    waiting = ideal_spans([1.0], 1, [range(0, 1)])
    spans = [
        waiting[0]._replace(component=1, lane=1, start_seconds=0.0, end_seconds=1.0, action="F0"),
        waiting[0]._replace(component=0, lane=1, start_seconds=2.0, end_seconds=3.0, action="F0"),
    ]
    place = tmp_path / "traces" / "x"
    place.mkdir(parents=True)
    (place / "spans.json").write_bytes(span_file.content(trace(spans, unit="action"), command="x"))
    assert "their lanes wait for each other" in traces_beside(tmp_path).remarks[0]


def test_text_of_a_file_is_drawn_as_it_stands(tmp_path: Path) -> None:
    """As matplotlib would read it, this is broken mathematics."""
    place = tmp_path / "traces" / "x"
    place.mkdir(parents=True)
    made = trace(TRACE.spans, title=r"$\frac{$", machine=r"$x$ \n", sizes="$$")
    (place / "spans.json").write_bytes(span_file.content(made, command="x"))
    assert len(traces_beside(tmp_path).drawn) == 1
