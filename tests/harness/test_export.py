"""Export: what other programs read holds what the records hold."""

import importlib.util
import io
import json
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from albench.errors import UsageError
from albench.harness import load
from albench.harness.export import export
from albench.harness.records import FILE_NAME, Record, RecordFile, read
from tests.harness.test_records import record

GOLDEN = Path(__file__).parent / "golden" / "records-v1.jsonl"


def test_csv_reads_back(tmp_path):
    assert export([GOLDEN], tmp_path / "new" / "out.csv") == 7
    table, loaded = pd.read_csv(tmp_path / "new" / "out.csv"), load(GOLDEN)
    assert list(table.columns) == list(loaded.columns)
    assert table["seconds"].tolist() == pytest.approx(loaded["seconds"].tolist(), nan_ok=True)
    assert table["key"].tolist() == loaded["key"].tolist()
    assert json.loads(table["environment"][0]) == loaded["environment"][0]
    assert json.loads(table["losses"][1]) == loaded["losses"][1]


def test_json_holds_whole_records_of_this_version(tmp_path):
    export([GOLDEN, GOLDEN], tmp_path / "out.json")
    found = msgspec.json.decode((tmp_path / "out.json").read_bytes(), type=list[Record])
    assert found == [*read(GOLDEN), *read(GOLDEN)]


def test_parquet_reads_back(tmp_path):
    pytest.importorskip("pyarrow", reason="not installed; the test dependencies have it")
    with RecordFile(tmp_path) as file:
        file.append(record(0, task_seconds=[0.5]))
        file.append(record(1, status="failed", reason="made up", seconds=None))
    for number, source in enumerate((GOLDEN, tmp_path)):
        export([source], tmp_path / f"{number}.parquet")
        table, loaded = pd.read_parquet(tmp_path / f"{number}.parquet"), load(source)
        assert list(table.columns) == list(loaded.columns)
        plain = [name for name in loaded if loaded[name].dtype != "object"]
        pd.testing.assert_frame_equal(table[plain], loaded[plain])
        assert json.loads(table["environment"][0]) == loaded["environment"][0]


def test_parquet_of_no_records_keeps_its_types(tmp_path):
    pytest.importorskip("pyarrow", reason="not installed; the test dependencies have it")
    RecordFile(tmp_path).close()
    export([tmp_path], tmp_path / "none.parquet")
    table = pd.read_parquet(tmp_path / "none.parquet")
    assert len(table) == 0
    assert str(table["hidden_layers"].dtype) == "int64"


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path, monkeypatch):
    if importlib.util.find_spec("pyarrow"):

        def missing(*_, **__):
            raise ImportError("made up")

        monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    with pytest.raises(UsageError, match=r"pip install 'albench\[parquet\]', or give --format csv"):
        export([GOLDEN], tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_the_format_is_named_or_taken_from_the_name(tmp_path):
    export([GOLDEN], tmp_path / "out.data", "csv")
    assert pd.read_csv(io.BytesIO((tmp_path / "out.data").read_bytes())).shape[0] == 7
    for name, form in (("out.data", None), ("out.csv", "cvs"), ("out", None)):
        with pytest.raises(UsageError, match="unknown format.*csv, json, parquet"):
            export([GOLDEN], tmp_path / name, form)


@pytest.mark.parametrize("name", [FILE_NAME, "other.json"])
def test_records_are_never_written_over(name, tmp_path):
    source = tmp_path / name
    source.write_bytes(GOLDEN.read_bytes())
    with pytest.raises(UsageError, match="where records are kept"):
        export([source], source, "json")
    assert source.read_bytes() == GOLDEN.read_bytes()


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    for out in (tmp_path / "file" / "out.csv", Path("/proc/albench/out.csv"), tmp_path / "folder.csv"):
        with pytest.raises(UsageError, match="cannot be written.*--out"):
            export([GOLDEN], out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv"], "nothing is left behind"
