"""The published schema: it is what the code reads and writes."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from albench.harness import schema
from albench.harness.records import read
from tests.harness.test_records import record

GOLDEN = Path(__file__).parent / "golden" / "records-v1.jsonl"


def test_the_file_is_what_the_code_says():
    assert schema.published() == schema.generated(), "run `python -m albench.harness.schema` and commit the file"


def test_a_new_field_has_a_default():
    """Else it needs a new version and a migration: records without it are on other people's disks."""
    definitions = json.loads(schema.published())["$defs"]
    assert set(definitions["Record"]["required"]) == {
        "format", "key", "scenario", "round", "status", "started_at", "environment",
    }  # fmt: skip
    assert set(definitions["Scenario"]["required"]) == {
        "method", "engine", "hidden_layers", "width", "batch_size", "minibatches",
    }  # fmt: skip


def test_every_field_says_what_it_is():
    for name, definition in json.loads(schema.published())["$defs"].items():
        for field, described in definition.get("properties", {}).items():  # a point of a curve is an array
            if name in ("Record", "Scenario") and field not in ("format", "version", "scenario", "round", "status"):
                assert described.get("description") or field in ("method", "environment"), field


def test_records_keep_to_it():
    jsonschema = pytest.importorskip("jsonschema", reason="not installed; the test dependencies have it")
    validator = jsonschema.Draft202012Validator(json.loads(schema.published()))
    for one in [record(), record(losses=[{"loss": float("nan")}]), *read(GOLDEN)]:
        validator.validate(json.loads(msgspec.json.encode(one)))
    assert not validator.is_valid({"format": "albench-record"})
    assert not validator.is_valid(json.loads(msgspec.json.encode(record())) | {"seconds": "fast"})


def test_the_command_prints_it():
    result = subprocess.run(
        [sys.executable, "-m", "albench", "schema"], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == schema.published()
