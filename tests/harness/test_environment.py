"""The environment that a record carries: what cannot be read of a GPU is missing, and takes nothing else with it."""

import re
import subprocess
import sys

import pytest

from albench.harness import environment
from tests.harness.fake_nvml import FakeGpu, FakeNvml, error


@pytest.fixture
def nvml(monkeypatch):
    """Return a function that puts a fake NVML in place of the library."""

    def put(*gpus):
        fake = FakeNvml(list(gpus))
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    return put


def raising(what):
    def call(*_):
        raise what

    return call


def test_gpus_are_listed_with_name_memory_and_driver(nvml):
    fake = nvml(FakeGpu(name="Fake A"), FakeGpu(name="Fake B"))
    fake.nvmlSystemGetDriverVersion = lambda: "999.1"
    found, reason = environment.gpus()
    assert [one["name"] for one in found] == ["Fake A", "Fake B"]
    assert {one["driver"] for one in found} == {"999.1"}
    assert reason == ""


@pytest.mark.parametrize("what", [error("NOT_SUPPORTED"), OSError("made up"), AttributeError("no such symbol")])
def test_a_card_that_cannot_tell_its_memory_is_still_a_card(nvml, what):
    """As a slice of a card (MIG), or a driver older than the library."""
    fake = nvml(FakeGpu(name="Fake A"))
    fake.nvmlDeviceGetMemoryInfo = raising(what)
    fake.nvmlSystemGetDriverVersion = raising(what)
    fake.nvmlShutdown = raising(what)
    found, reason = environment.gpus()
    assert found == [{"name": "Fake A", "memory_bytes": None, "driver": None}]
    assert reason == ""


@pytest.mark.parametrize("name", ["nvmlInit", "nvmlDeviceGetCount"])
def test_a_broken_library_is_a_reason(nvml, name):
    setattr(nvml(FakeGpu()), name, raising(OSError("libnvidia-ml.so.1: cannot open")))
    assert environment.gpus() == ([], "NVML: libnvidia-ml.so.1: cannot open")


def test_no_library_at_all_is_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found, reason = environment.gpus()
    assert found == []
    assert "pynvml" in reason


def test_two_changed_trees_of_one_commit_are_told_apart(tmp_path, monkeypatch):
    """Or `compare` would take a change for none."""
    package = tmp_path / "package" / "part"
    package.mkdir(parents=True)
    one = package / "one.py"
    monkeypatch.setattr(environment, "__file__", str(one))
    assert environment.commit() == "", "no checkout"

    def git(*arguments):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    git("init")
    one.write_text("first\n")
    (tmp_path / "README").write_text("first\n")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "first")
    clean = environment.commit()
    assert len(clean) == 12
    one.write_text("second\n")
    changed = environment.commit()
    assert re.fullmatch(rf"{clean}\+[0-9a-f]{{6}}", changed)
    one.write_text("third\n")
    assert environment.commit() not in (clean, changed)
    one.write_text("second\n")
    assert environment.commit() == changed
    one.write_text("first\n")
    (tmp_path / "README").write_text("second\n")
    assert environment.commit() == clean, "what is beside the package changes no time"
