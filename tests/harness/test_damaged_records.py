"""Any bytes at all as a file of records: records or one line that refuses them, and never anything else."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from albench.errors import UsageError
from albench.harness.frame import frame
from albench.harness.records import FILE_NAME, Record, RecordFile, RecordWarning, read
from tests.harness.test_records import record

GOLDEN = (Path(__file__).parent / "golden" / "records-v1.jsonl").read_bytes()
LINES = [*GOLDEN.splitlines(), *(msgspec.json.encode(record(number)) for number in range(2))]
settings.register_profile("records", deadline=None, derandomize=True, max_examples=100)
FUZZ = settings.get_profile("records")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / FILE_NAME


def records_or_refusal(path: Path, content: bytes, *, as_table: bool = False) -> list[Record]:
    """Return the records in `content`, none where it is refused; anything but a refusal in one line gets out."""
    path.write_bytes(content)
    found, refusal = [], ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordWarning)
        try:
            found = read(path)
            if as_table:
                frame(found)  # what can be read can be shown as a table
        except UsageError as error:
            refusal = str(error)
    assert "\n" not in refusal
    assert len(refusal) < 1000
    return found


@FUZZ
@given(content=st.binary(max_size=300))
@example(content=b"")
@example(content=b"\0" * 100)
@example(content=b"\n\r\n \n")
@example(content=b"\xef\xbb\xbf")
@example(content=b"\xff\xfe{\0}\0\n\0")
@example(content=b"[" * 100_000 + b"\n")
@example(content=b'{"a":' * 100_000 + b"\n")
@example(content=b"9" * 10_000 + b"\n")
@example(content=b"NaN\n")
def test_arbitrary_bytes(path, content):
    assert records_or_refusal(path, content) == []


@FUZZ
@given(line=st.sampled_from(LINES), at=st.integers(0), with_=st.binary(min_size=1, max_size=4), cut=st.integers(0, 4))
def test_a_line_with_other_bytes_somewhere(path, line, at, with_, cut):
    at %= len(line)
    damaged = line[:at] + with_ + line[at + cut :]
    whole = msgspec.json.encode(record(7))
    found = records_or_refusal(path, whole + b"\n" + damaged + b"\n" + whole + b"\n")
    # "version" may have become a newer one, which refuses the file; else the whole lines are there.
    assert not found or (found[0] == found[-1] == record(7))


def leaves(value, at=()):
    """Yield the place of every value in a JSON document."""
    yield at
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*at, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*at, number))


STRANGE = (
    "null", "true", '""', "[]", "{}", "-1", "0", "1.5", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 400,
    "-" + "9" * 30, "9223372036854775808", "1e308", '"\\u0000"', '"\\ud800"', '"2026-99-99T00:00:00"',
    '"' + "x" * 5000 + '"',
    "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, '{"packages":7,"gpus":[null,3,{"name":{}}],"cpu":[]}',
)  # fmt: skip


@FUZZ
@given(line=st.sampled_from(LINES), place=st.integers(0), strange=st.sampled_from(STRANGE))
def test_a_record_with_a_strange_value_somewhere(path, line, place, strange):
    document = json.loads(line)
    places = [at for at in leaves(document) if at]
    at = places[place % len(places)]
    inner = document
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = "@"
    found = records_or_refusal(
        path, json.dumps(document).replace('"@"', strange, 1).encode() + b"\n" + LINES[-1], as_table=True
    )
    assert not found or found[-1] == msgspec.json.decode(LINES[-1], type=Record)


def test_cut_at_every_byte(path):
    """A machine can die after any byte: every line before it is there, and a sweep can go on."""
    content = b"".join(line + b"\n" for line in (LINES[0], LINES[-1]))
    whole = [*records_or_refusal(path, content)]
    assert len(whole) == 2
    for keep in range(len(content) + 1):
        # One byte short of its line break a record is whole.
        expected = whole[: content[: keep + 1].count(b"\n")]
        assert records_or_refusal(path, content[:keep]) == expected
        if keep % 50 == 0 or len(content) - keep < 3:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RecordWarning)
                RecordFile(path.parent).close()
            assert path.read_bytes() == b"".join(content.splitlines(keepends=True)[: len(expected)])
