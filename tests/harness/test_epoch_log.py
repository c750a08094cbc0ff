"""The epoch log: whatever befalls the file costs a line, and nothing else."""

import msgspec
import pytest

from albench.analysis.time_to_accuracy import CurvePoint
from albench.errors import UsageError
from albench.harness import epoch_log
from albench.harness.epoch_log import FILE_NAME, Epoch, Header, LogWriter, Resumed
from albench.harness.records import RecordWarning
from albench.harness.scenario import Scenario

SCENARIO = Scenario(method="bp", engine="eager", hidden_layers=2, width=4, batch_size=8, minibatches=360)


def header(**changes):
    fields = {
        "settings": {"method": "bp", "seed": 0, "rate_steps": [[0.4, 0.1]]},
        "scenario": SCENARIO,
        "environment": {"cpu": "one"},
        "command": "albench train",
        "started_at": "2026-01-01T00:00:00+00:00",
        "training_instances": 1437,
        "held_out_instances": 360,
        "lanes": 1,
        "lane_kind": "intra-op-thread",
        "components": None,
        "effective_parameters": 10,
        "affiliated_parameters": 0,
    }
    return Header(**fields | changes)


def epoch(number, **changes):
    fields = {
        "epoch": number,
        "minibatches": 180 * number,
        "instances": 1440 * number,
        "seconds": 2.0 * number,
        "samples_per_second": 720.0,
        "learning_rate": 1e-3,
        "losses": [{"cross-entropy": 0.5}],
        "training_accuracy": 0.75,
        "held_out_accuracy": 0.5,
    }
    return Epoch(**fields | changes)


RESUMED = Resumed(epoch=1, environment={"cpu": "another"}, command="again", started_at="2026-01-02T00:00:00+00:00")


def test_what_is_written_is_read_again(tmp_path):
    with LogWriter(tmp_path, [header(), epoch(1)]) as log:
        log.append(RESUMED)
        log.append(epoch(2, losses=[{"cross-entropy": float("nan")}], held_out_accuracy=None))
    for path in (tmp_path, tmp_path / FILE_NAME):
        found = epoch_log.read(path)
        assert found.header == header()
        assert found.epochs == (epoch(1), epoch(2, losses=[{"cross-entropy": None}], held_out_accuracy=None))
        assert found.resumed == (RESUMED,)
    assert found.learning_curve == [CurvePoint(1440, 2.0, 0.5), CurvePoint(2880, 4.0, None)]


def test_a_line_is_on_disk_before_the_next_epoch_begins(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(epoch_log.os, "fsync", lambda handle: synced.append((tmp_path / FILE_NAME).read_bytes()))
    with LogWriter(tmp_path, [header()]) as log:
        log.append(epoch(1))
        assert synced[-1].endswith(msgspec.json.encode(epoch(1)) + b"\n")


def test_a_torn_last_line_and_a_damaged_one_are_left_out(tmp_path):
    lines = [msgspec.json.encode(line) for line in (header(), epoch(1), epoch(2), epoch(3))]
    (tmp_path / FILE_NAME).write_bytes(b"\n".join([lines[0], lines[1], b"\xff{", b'{"format":"other"}', lines[2][:40]]))
    with pytest.warns(RecordWarning, match="is left out") as caught:
        found = epoch_log.read(tmp_path)
    assert [one.epoch for one in found.epochs] == [1]
    assert [str(w.message).split(" is left")[0].split(", ")[1] for w in caught] == ["line 3", "line 4", "line 5"]


def test_an_epoch_that_was_trained_again_counts_once(tmp_path):
    with LogWriter(tmp_path, [header(), epoch(1), epoch(2), epoch(2, seconds=9.0)]):
        pass
    assert [one.seconds for one in epoch_log.read(tmp_path).epochs] == [2.0, 9.0]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is no log of a training run"), (b"hello", "is no log"), (msgspec.json.encode(epoch(1)), "is no log")],
    ids=["empty", "another file", "no header"],
)
@pytest.mark.filterwarnings("ignore::albench.harness.records.RecordWarning")
def test_what_is_no_log_is_refused(tmp_path, content, words):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        epoch_log.read(tmp_path)


def test_a_log_that_is_not_there_or_newer_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        epoch_log.read(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(header(version=2)))
    with pytest.raises(UsageError, match="version 2, this albench reads up to 1"):
        epoch_log.read(tmp_path)


def test_two_do_not_write_one_log(tmp_path):
    """Each would cut off what the other has written."""
    with LogWriter(tmp_path, [header(), epoch(1)]) as log:
        with pytest.raises(UsageError, match="another `albench train` writes"):
            LogWriter(tmp_path, [header()])
        log.append(epoch(2))
    assert len(epoch_log.read(tmp_path).epochs) == 2
    with LogWriter(tmp_path, [header()]):
        assert epoch_log.read(tmp_path).epochs == ()
