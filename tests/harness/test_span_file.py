"""Spans on disk: the same spans come back, and whatever else lies there is refused in one line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.bubble import ideal_spans
from albench.errors import UsageError
from albench.harness.span_file import content, read
from albench.trace import Span
from tests.test_trace import trace

SPANS = [
    span._replace(start_seconds=span.start_seconds + 1e5 / 3, end_seconds=span.end_seconds + 1e5 / 3)
    for span in ideal_spans([1e-3 / 3, 2e-3 / 7], 3, [range(0, 1), range(1, 2)])
]
WHOLE = content(trace(SPANS, notes=("a note",)), command="albench trace `x`")


def written(tmp_path, data):
    file = tmp_path / "spans.json"
    file.write_bytes(data)
    return file


def test_a_trace_comes_back_counted_from_its_first_start(tmp_path):
    made = trace(SPANS, notes=("a note",))
    run = read(written(tmp_path, WHOLE))
    assert run.command == "albench trace `x`"
    assert [span[:3] for span in run.trace.spans] == [span[:3] for span in made.spans]
    for span, before in zip(run.trace.spans, made.spans, strict=True):
        assert span.start_seconds == before.start_seconds - made.start_seconds
        assert span.end_seconds == before.end_seconds - made.start_seconds
    about = ("unit", "lane_kind", "title", "sizes", "host", "machine", "notes", "lanes", "components", "minibatches")
    assert [getattr(run.trace, name) for name in about] == [getattr(made, name) for name in about]


def test_actions_come_back(tmp_path):
    spans = (Span(0, 0, 0, 0.0, 1.0, "F0"), Span(0, 0, 0, 1.0, 3.0, "B0"), Span(0, 0, 0, 3.0, 3.5, "U"))
    data = content(trace(spans, unit="action", lane_kind="process"), command="albench trace")
    assert read(written(tmp_path, data)).trace.spans == spans


def changed(**fields):
    return json.dumps(json.loads(WHOLE) | fields).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no trace of albench"),
        (WHOLE[:-20], "is no trace of albench"),
        (b'{"traceEvents":[]}', "is no trace of albench"),
        (b'{"format":"albench-record","version":2}', "is no trace of albench"),
        (changed(version=99), "has trace version 99, this albench reads up to 1: update it"),
        (changed(spans=[]), "the trace has no spans"),
        (changed(spans=[[0, 0, 0, 2.0, 1.0]]), "its end is before its start"),
        (changed(spans=[[0, 0, 0, 0.0, 1e300]]), "a span at 1e\\+300 s"),
        (changed(spans=[[0, 0, 10**9, 0.0, 1.0]]), "1000000001 lanes"),
        (changed(spans=[[10**9, 0, 0, 0.0, 1.0]]), "1000000001 components"),
        (changed(spans=[[0, 0, 0, 0.0, 1.0], [0, 10**15, 0, 0.0, 1.0]]), "mini-batches in 2 spans"),
        (changed(spans=[[i, i, 0, 0.0, 1.0] for i in range(1000)]), "1000000 tasks in 1000 spans"),
        (changed(unit="epoch"), "is no trace of albench"),
        (changed(title=2000 * "x"), "is no trace of albench"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value,
)  # fmt: skip
def test_what_is_no_trace_is_refused_in_one_line(tmp_path, data, words):
    with pytest.raises(UsageError, match=words) as caught:
        read(written(tmp_path, data))
    assert "\n" not in str(caught.value)


def test_what_is_not_there_or_not_a_file_is_refused(tmp_path):
    (tmp_path / "spans.json").mkdir()
    for path in (tmp_path / "spans.json", tmp_path / "none", tmp_path / (300 * "x")):
        with pytest.raises(UsageError, match="is not there|cannot be read"):
            read(path)


def test_control_characters_are_replaced_before_anybody_draws_or_prints_them(tmp_path):
    shown = read(written(tmp_path, changed(title="AL\x1b[31m\nred", notes=["a\x00b"]))).trace
    assert shown.title == "AL\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}red"
    assert shown.notes == ("a\N{REPLACEMENT CHARACTER}b",)


def read_or_refused(file):
    """Whether a file is read, or refused in one line."""
    try:
        return bool(read(file).trace.spans)
    except UsageError as error:
        return "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, len(WHOLE) - 1), junk=st.binary(max_size=4), cut=st.integers(0, 40))
def test_whatever_befalls_a_file_is_one_line_or_a_trace(tmp_path_factory, position, junk, cut):
    file = tmp_path_factory.getbasetemp() / "spans.json"
    file.write_bytes(WHOLE[:position] + junk + WHOLE[position + cut :])
    assert read_or_refused(file)
