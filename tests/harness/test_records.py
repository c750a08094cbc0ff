"""Records: whole lines that survive a crash, and nothing foreign passes for one."""

import dataclasses
import json
import subprocess
import sys
import warnings
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.errors import UsageError
from albench.harness.records import FILE_NAME, Record, RecordFile, RecordWarning, read
from albench.harness.scenario import Scenario


def scenario(**changes):
    return Scenario(
        **{
            "method": "al",
            "engine": "fused",
            "hidden_layers": 4,
            "width": 8,
            "batch_size": 4,
            "minibatches": 3,
        }
        | changes
    )


def record(number=0, **changes):
    one = scenario()
    return Record(
        **{
            "key": one.key,
            "scenario": one,
            "round": number,
            "status": "measured",
            "started_at": "2026-01-01T00:00:00+00:00",
            "environment": {"cpu": "ℓ"},
            "seconds": 0.5 + number,
            "instances": one.instances,
        }
        | changes
    )


def test_what_is_written_is_read_back(tmp_path):
    with RecordFile(tmp_path / "new" / "folder") as file:
        for number in range(3):
            file.append(record(number))
            # Whole and on disk before the next case starts: another process sees it now.
            assert read(tmp_path / "new" / "folder")[-1] == record(number)
    assert read(tmp_path / "new" / "folder" / FILE_NAME) == [record(n) for n in range(3)]


def test_a_torn_last_line_is_dropped_with_a_warning_and_repaired(tmp_path):
    with RecordFile(tmp_path) as file:
        file.append(record(0))
        file.append(record(1))
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(RuntimeWarning, match="torn"):
        assert read(tmp_path) == [record(0)]
    with pytest.warns(RuntimeWarning, match="torn"), RecordFile(tmp_path) as file:
        file.append(record(2))
    assert read(tmp_path) == [record(0), record(2)]


@given(keep=st.integers(0, 1500))
@settings(max_examples=60, deadline=None)
def test_cutting_the_file_anywhere_loses_at_most_one_record(keep, tmp_path_factory):
    whole = b"".join(msgspec.json.encode(record(n)) + b"\n" for n in range(2))
    path = tmp_path_factory.mktemp("cut") / FILE_NAME
    path.write_bytes(whole[:keep])
    complete = whole[:keep].count(b"\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            found = read(path)
        except UsageError:
            assert complete == 0, "whole records were refused"
            return
    assert found[:complete] == [record(n) for n in range(complete)]


FOREIGN = {
    "other JSON": b'{"name": "somebody else"}\n',
    "not JSON": b"hello\n",
    "an array": b"[1, 2]\n",
    "bytes": bytes(range(256)) + b"\n",
    "a half line only": b'{"format": "alb',
    "another format": msgspec.json.encode(record()).replace(b"albench-record", b"someone-record") + b"\n",
    "a bad scenario": msgspec.json.encode(record()).replace(b'"hidden_layers":4', b'"hidden_layers":3') + b"\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_ours_is_refused_in_one_line(name, tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_bytes(FOREIGN[name])
    with pytest.raises(UsageError, match=r"some.jsonl, line 1 .*records.jsonl") as caught:
        read(path)
    assert "\n" not in str(caught.value)


DAMAGE = {
    "other JSON": b"{}",
    "bytes": bytes(range(1, 10)) + b"\xff",
    "NULs": b"\0" * 50,
    "a half record": msgspec.json.encode(record())[:300],
    "two halves": msgspec.json.encode(record())[:300] + msgspec.json.encode(record()),
    "a bad scenario": msgspec.json.encode(record()).replace(b'"hidden_layers":4', b'"hidden_layers":3'),
}


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_line_is_named_and_set_aside_and_nothing_else_is_lost(name, position, tmp_path):
    path = tmp_path / FILE_NAME
    lines = [msgspec.json.encode(record(n)) for n in range(2)]
    lines.insert(position, DAMAGE[name])
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(content)
    with pytest.warns(RecordWarning, match=rf"line {position + 1} is not a record.*set aside") as caught:
        assert read(path) == [record(0), record(1)]
    assert "\n" not in str(caught[0].message)
    with pytest.warns(RecordWarning, match="set aside"), RecordFile(tmp_path) as file:
        file.append(record(2))
    assert path.read_bytes() == content + msgspec.json.encode(record(2)) + b"\n", "measured lines stay as they are"


def test_many_damaged_lines_are_one_warning(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(b"{}\n" * 4 + msgspec.json.encode(record()) + b"\n")
    with pytest.warns(RecordWarning, match="line 1 is not.*nor are 3 more") as caught:
        read(path)
    assert len(caught) == 1


def test_a_last_line_that_only_lacks_its_break_is_kept(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(msgspec.json.encode(record(0)))
    assert read(path) == [record(0)]
    with RecordFile(tmp_path) as file:
        file.append(record(1))
    assert read(path) == [record(0), record(1)]


@pytest.mark.parametrize("keep", [1, 10, 26, 27, 400])
def test_a_sweep_that_died_in_its_first_line_goes_on(keep, tmp_path):
    """All that the file holds is the beginning of a record: ours, although there is no record in it."""
    path = tmp_path / FILE_NAME
    path.write_bytes(msgspec.json.encode(record(0))[:keep])
    with pytest.warns(RecordWarning, match="torn"), RecordFile(tmp_path) as file:
        file.append(record(1))
    assert read(path) == [record(1)]


def test_line_ends_and_marks_of_other_systems_are_read(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(msgspec.json.encode(record(n)) + b"\r\n" for n in range(2)) + b"\r\n\n")
    assert read(path) == [record(0), record(1)]


def test_a_training_that_diverged_is_read_back(tmp_path):
    """JSON has no number for a loss that is not finite; such a record must not make its file unreadable."""
    with RecordFile(tmp_path) as file:
        file.append(record(losses=[{"associated": float("nan"), "autoencoder": float("inf")}, {"associated": 1.0}]))
    assert read(tmp_path)[0].losses == [{"associated": None, "autoencoder": None}, {"associated": 1.0}]


def test_fields_that_a_reader_does_not_know_are_skipped(tmp_path):
    """So that a field can be added without a new version."""
    line = json.loads(msgspec.json.encode(record()))
    line["telemetry_of_tomorrow"] = {"watts": [1.5]}
    line["scenario"]["unheard_of"] = None
    (tmp_path / FILE_NAME).write_text(json.dumps(line) + "\n")
    assert read(tmp_path) == [record()]


def test_a_newer_record_among_others_is_no_damage(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(msgspec.json.encode(record()) + b"\n" + msgspec.json.encode(record(version=99)) + b"\n")
    with pytest.raises(UsageError, match="line 2 has record version 99"):
        read(path)


def test_a_newer_version_is_refused(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(msgspec.json.encode(record(version=99)) + b"\n")
    with pytest.raises(UsageError, match="version 99.*update"):
        read(path)


def test_missing_files_and_unwritable_directories(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written.*--out"):
        RecordFile(tmp_path / "file")
    with pytest.raises(UsageError, match="cannot be written.*--out"):
        RecordFile(Path("/proc/albench"))


def test_two_sweeps_cannot_write_one_file(tmp_path):
    with RecordFile(tmp_path), pytest.raises(UsageError, match="another albench"):
        RecordFile(tmp_path)
    RecordFile(tmp_path).close()  # free again


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Scenario)])
def test_the_key_changes_with_every_field(field):
    other = {
        "method": "bp",
        "engine": "serial",
        "network": "cnn",
        "dataset": "synthetic",
        "bridge_width": 5,
        "learning_rate": 0.5,
        "distinct_targets": False,
        "precision": "float64",
        "purpose": "accuracy",
        "microbatches": 2,
        "replicas": 2,
        "device": "cuda",
        "lane_kind": "sm-share",
        "bridge": "pooled",
        "initial_scale": 0.5,
    }.get(field, 6)
    base = {
        "microbatches": {"method": "gpipe", "engine": "ranks"},
        "replicas": {"method": "al-ddp", "engine": "threads"},
        "lane_kind": {"engine": "graph"},
        "lane_sms": {"engine": "graph", "lane_kind": "sm-share"},
        "network": {"hidden_layers": 8},  # as many as a CNN has
        "bridge": {"network": "cnn", "hidden_layers": 8},
    }.get(field, {})
    changes = {field: other} | ({"engine": "eager"} if field == "method" else {})
    assert scenario(**base, **changes).key != scenario(**base).key


def test_the_key_is_the_same_in_every_process():
    script = "from tests.harness.test_records import scenario; print(scenario().key)"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {scenario().key}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_layers": 3}, "hidden layers is 3.*try 2 or 4"),
        ({"hidden_layers": 0}, "hidden layers is 0"),
        ({"width": 0}, "width is 0"),
        ({"batch_size": -1}, "batch size is -1"),
        ({"minibatches": 0}, "minibatches is 0"),
        ({"lanes": 0}, "lanes is 0"),
        ({"method": "all"}, "unknown method 'all': did you mean 'al'"),
        ({"engine": "fussed"}, "did you mean 'fused'"),
        ({"engine": "eager"}, "engine of method 'al'"),
        ({"dataset": "mnits"}, "did you mean 'mnist'"),
        ({"network": "cn"}, "unknown network 'cn'"),
        ({"precision": "float16"}, "unknown precision"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"bridge_width": 0}, "bridge width is 0"),
        ({"width": 2**31}, "width is too large"),
        ({"bridge_width": 10**5000}, "bridge width is too large"),
        ({"seed": -(2**31)}, "seed is too large"),
    ],
)
def test_bad_scenarios_are_refused_in_one_line(changes, words):
    with pytest.raises(UsageError, match=words) as caught:
        scenario(**changes)
    assert "\n" not in str(caught.value)


def test_a_record_is_json_that_anyone_can_read():
    plain = json.loads(msgspec.json.encode(record()))
    assert plain["scenario"]["hidden_layers"] == 4
    assert plain["instances"] == 12


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": 1e308}, "seconds is 1e\\+308"),
        ({"seconds": 5e-324}, "seconds is 5e-324"),
        ({"seconds": -1.0}, "seconds is -1"),
        ({"task_seconds": [0.5, 0.0]}, "task_seconds holds 0"),
        ({"lanes": 0}, "lanes is 0"),
        ({"components": -3}, "components is -3"),
        ({"instances": -12}, "instances is -12"),
        ({"effective_parameters": -1}, "effective_parameters is -1"),
        ({"accuracy": 1.01}, "accuracy is 1.01"),
        ({"accuracy": -0.5}, "accuracy is -0.5"),
        ({"accuracy": 1e300}, "accuracy is 1e\\+300"),
        ({"learning_curve": [[12, 1.0, 0.5], [24, 2.0, 7.0]]}, "accuracy is 7"),
        ({"learning_curve": [[12, -1.0, 0.5]]}, "learning_curve holds -1"),
    ],
    ids=lambda one: str(one)[:20],
)
def test_what_no_case_can_have_taken_is_a_damaged_line(changes, words, tmp_path):
    """Reports divide by such numbers, or draw them."""
    good = msgspec.json.decode(msgspec.json.encode(record()))
    path = tmp_path / FILE_NAME
    path.write_bytes(msgspec.json.encode(good) + b"\n" + msgspec.json.encode(good | changes) + b"\n")
    with pytest.warns(RecordWarning, match=f"line 2 is not a record.*{words}"):
        assert read(path) == [record()]
