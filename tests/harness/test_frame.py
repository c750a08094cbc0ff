"""Records as a frame: one row a record, columns of one type each, on no rows as on many."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from albench.errors import UsageError
from albench.harness import load
from albench.harness.control import CONTROL
from albench.harness.frame import frame
from albench.harness.records import FILE_NAME, RecordFile
from tests.harness.test_records import record, scenario

GOLDEN = Path(__file__).parent / "golden" / "records-v1.jsonl"


def filed(directory, *records):
    with RecordFile(directory) as file:
        for one in records:
            file.append(one)
    return directory


def test_a_row_says_what_a_record_says(tmp_path):
    failed = record(1, status="failed", reason="made up", seconds=None)
    loaded = load(filed(tmp_path, record(0, lanes=2, task_seconds=[0.1, 0.2], losses=[{"loss": 1.0}]), failed))
    assert len(loaded) == 2
    first, second = loaded.iloc[0], loaded.iloc[1]
    assert (first["hidden_layers"], first["width"], first["method"], first["series"]) == (4, 8, "al", "AL fused")
    assert (first["lanes"], first["lanes_asked"]) == (2, 1)
    assert first["milliseconds_per_minibatch"] == pytest.approx(0.5 * 1e3 / 3)
    assert first["samples_per_second"] == pytest.approx(12 / 0.5)
    assert first["task_seconds"] == [0.1, 0.2]
    assert first["losses"] == [{"loss": 1.0}]
    assert first["started_at"] == pd.Timestamp("2026-01-01", tz="UTC")
    assert first["distinct_targets"] == "auto"
    assert (second["status"], second["reason"]) == ("failed", "made up")
    for name in ("seconds", "milliseconds_per_minibatch", "samples_per_second", "accuracy"):
        assert np.isnan(second[name])
    assert second["components"] is pd.NA
    assert second["task_seconds"] is None
    assert loaded.explode("task_seconds")["task_seconds"].tolist() == [0.1, 0.2, None]


def test_what_the_environment_says_is_columns():
    loaded = load(GOLDEN)
    assert set(loaded["torch"]) == {"2.15.0"}
    assert loaded["commit"].notna().all()
    assert loaded["usable_cores"].tolist() == [2] * len(loaded)
    assert loaded["gpu"].isna().all()
    assert loaded["environment"].iloc[0]["packages"]["scipy"]


def test_an_environment_that_says_nothing_or_nonsense_is_missing():
    strange = {"usable_cores": "many", "memory_bytes": 2**70, "packages": [], "gpus": [{"name": "A"}, {}, None]}
    loaded = frame([record(environment=strange), record(environment={})])
    assert loaded[["usable_cores", "machine_memory_bytes", "torch", "cpu"]].isna().all().all()
    assert loaded["gpu"].iloc[0] == "A"


def test_types_are_the_same_on_no_rows(tmp_path):
    empty = load(filed(tmp_path / "empty"))
    full = load(filed(tmp_path / "full", *(record(n, scenario=scenario(lanes=n + 1)) for n in range(3))))
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict() == load(GOLDEN).dtypes.to_dict()
    expected = {
        "hidden_layers": "int64", "round": "int64", "components": "Int64", "bridge_width": "Int64",
        "seconds": "float64", "accuracy": "float64", "samples_per_second": "float64", "method": "string",
        "status": "string", "distinct_targets": "string", "losses": "object", "started_at": "datetime64[us, UTC]",
    }  # fmt: skip
    assert {name: str(full[name].dtype) for name in expected} == expected


def test_several_sources_are_told_apart(tmp_path):
    one, other = filed(tmp_path / "a", record(0)), filed(tmp_path / "b", record(0), record(1))
    loaded = load(one, str(other / FILE_NAME))
    assert loaded["source"].tolist() == [str(one), *[str(other / FILE_NAME)] * 2]
    assert loaded.index.tolist() == [0, 1, 2]


def test_what_counts_is_told_from_controls_and_earlier_attempts(tmp_path):
    first, again = record(0, seconds=9.0), record(0, attempt=1)
    control = record(0, scenario=CONTROL, key=CONTROL.key)
    failed = record(1, status="failed", reason="made up", seconds=None)
    loaded = load(filed(tmp_path / "a", first, control, again, failed), filed(tmp_path / "b", first))
    assert loaded["counts"].tolist() == [False, False, True, True, True]


def test_times_taken_off_the_pace_are_marked(tmp_path):
    """Whoever works with the frame sees what the report flags, each file by its own controls."""
    controls = [record(n, scenario=CONTROL, key=CONTROL.key, seconds=s) for n, s in enumerate([1.0, 1.0, 1.5, 1.0])]
    cases = [record(n) for n in range(3)]
    mixed = [one for pair in zip(controls, [*cases, controls[3]], strict=True) for one in pair][:-1]
    loaded = load(filed(tmp_path / "a", *mixed), filed(tmp_path / "b", *cases))
    assert loaded["off_pace"].tolist() == [False, False, False, True, False, True, False, False, False, False]
    assert str(loaded["off_pace"].dtype) == "bool"


def test_what_follows_from_a_record_is_a_column():
    made = frame([record(0, seconds=2.0, flops_per_minibatch=10**9, matmul_peak_flops_per_second=1e10), record(1)])
    one = made.iloc[0]
    assert one["flops_per_second"] == pytest.approx(10**9 * one["minibatches"] / 2.0)
    assert one["share_of_peak"] == pytest.approx(one["flops_per_second"] / 1e10)
    assert made[["joules_per_sample", "share_of_peak"]].isna().to_numpy().tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("peak", [0.0, -1.0, float("inf")])
def test_a_peak_that_is_none_gives_no_share(peak):
    """A number that somebody damaged must not keep the file from being read."""
    one = frame([record(0, flops_per_minibatch=10**9, matmul_peak_flops_per_second=peak)]).iloc[0]
    assert np.isnan(one["share_of_peak"])
    assert one["flops_per_second"] > 0


def test_a_measured_time_of_nothing_gives_no_throughput():
    assert np.isnan(frame([record(seconds=0.0)])["samples_per_second"].iloc[0])


def test_bad_sources_are_refused(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="nothing to load"):
        load()
    with pytest.raises(UsageError, match="lanes holds a number beyond 64 bits"):
        frame([record(lanes=2**64)])


def test_importing_the_harness_or_an_engine_imports_no_pandas():
    """A frame is for those who ask for one; a training script and a case pay nothing for it."""
    script = (
        "import sys, albench.harness; print(sorted({'pandas', 'torch', 'msgspec'} & sys.modules.keys())); "
        "import albench.engines, albench.harness.case; print('pandas' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.split("\n")[:2] == ["[]", "False"]
