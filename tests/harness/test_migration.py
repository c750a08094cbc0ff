"""Old records: what was measured stays readable, and means what it meant."""

import json
from pathlib import Path

import pytest

from albench.harness import migration
from albench.harness.records import VERSION, read

GOLDEN = Path(__file__).parent / "golden" / "records-v1.jsonl"
REPORTS = sorted((Path(__file__).parents[2] / "reports").glob("*/records.jsonl"))


def test_there_is_a_step_to_every_version():
    assert len(migration.STEPS) == VERSION - 1


def test_version_1_means_what_it_meant():
    lines = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    found = read(GOLDEN)
    assert {line["version"] for line in lines} == {1}
    assert {record.version for record in found} == {VERSION}
    for line, record in zip(lines, found, strict=True):
        assert record.key == line["key"] == record.scenario.key, "it is still found under its key"
        assert record.seconds == line["seconds"]
        assert record.environment == line["environment"]
        assert record.losses == line["losses"]
    first_records = [line for line in lines if "device" not in line["scenario"]]
    assert first_records, "the file holds records from before there was a device, …"
    assert any("flops_per_minibatch" not in line for line in lines), "… from before operations were counted, …"
    assert any("device" in line["scenario"] for line in lines), "… and the last of version 1"
    assert {record.status for record in found} == {"measured", "timed-out"}


def test_a_step_does_not_depend_on_todays_defaults():
    old = json.loads(GOLDEN.read_text(encoding="utf-8").splitlines()[0])
    new = migration.migrated(old, 1)
    assert new["scenario"]["device"] == "cpu"
    assert (new["scenario"]["microbatches"], new["scenario"]["replicas"]) == (1, 1)
    assert new["flops_per_minibatch"] is None
    assert old["version"] == 1, "what was read is not changed"


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_every_record_of_the_reference_reports_is_read(path):
    records = read(path)
    assert len(records) == path.read_bytes().count(b"\n")
    assert all(record.key == record.scenario.key for record in records)
