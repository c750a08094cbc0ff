"""Availability: what cannot be had here is said with its reason, and torch is asked only where there is a GPU."""

import json

import pytest

from albench.engines import shares
from albench.errors import UsageError
from albench.harness import availability
from albench.harness.availability import (
    engine_availability,
    refuse_missing_cuda,
    share_availability,
    with_gpus_of_torch,
)
from albench.harness.suites import SUITES, suite_scenarios
from albench.methods import METHODS

GPU = {"name": "a GPU", "memory_bytes": 2**34, "driver": "600.1"}


def facts(*, gpus=(), gpu_reason="", torch="2.15.0"):
    return {"usable_cores": 2, "packages": {"torch": torch}, "gpus": list(gpus), "gpu_reason": gpu_reason}


def test_shares_of_a_machine_without_a_gpu(monkeypatch):
    monkeypatch.setattr(shares, "unavailable_reason", lambda: pytest.fail("asked torch, which takes seconds"))
    assert share_availability(facts(gpu_reason="NVML: no driver")) == "no: there is no GPU (NVML: no driver)"
    assert share_availability(facts(gpus=[GPU], torch="not installed")) == "no: torch is not installed"


@pytest.mark.parametrize(
    ("reason", "said"), [(None, "available"), ("the driver is too old: get a new one",) * 2], ids=["yes", "no"]
)
def test_shares_of_a_machine_with_a_gpu(monkeypatch, reason, said):
    monkeypatch.setattr(shares, "unavailable_reason", lambda: reason)
    assert share_availability(facts(gpus=[GPU])) == (said if reason is None else f"no: {said}")


def reasons(**changes):
    return {row.engine: row.reason for row in engine_availability(facts(**changes)) if row.method == "al"}


def test_engines_of_cuda_lanes_need_a_device():
    found = reasons(gpu_reason="NVML: no driver")
    assert found["streams"] == found["graph"] == "needs a CUDA device (NVML: no driver)"
    assert found["serial"] == found["threads"] == found["fused"] == ""


def test_engines_of_cuda_lanes_need_a_torch_with_cuda():
    assert reasons(torch="2.11.0+cpu", gpus=[GPU])["graph"].endswith("is built without CUDA")


def test_with_a_device_all_can_run():
    assert set(reasons(gpus=[GPU]).values()) == {""}


def test_without_torch_nothing_runs():
    assert set(reasons(torch="not installed").values()) == {"torch is not installed"}


def test_the_compiled_engine_needs_the_compiler_that_torch_takes(monkeypatch):
    monkeypatch.setattr(availability.sys, "platform", "linux")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(availability.shutil, "which", {"g++": "/bin/g++"}.get)
    assert compiled_reason() == ""
    monkeypatch.setenv("CXX", "icpx")
    assert compiled_reason().startswith("needs a C++ compiler, and icpx is not on the path")
    monkeypatch.setattr(availability.shutil, "which", {"icpx": "/bin/icpx"}.get)
    assert compiled_reason() == ""
    assert compiled_reason(torch="not installed") == "torch is not installed"


def compiled_reason(**changes):
    (row,) = (row for row in engine_availability(facts(**changes)) if row.engine == "compiled")
    assert row.available == (not row.reason)
    return row.reason


def test_ranks_need_no_launcher():
    """Every engine "ranks" makes its own processes; those of torchrun are the other way."""
    lanes = {row.lanes for row in engine_availability(facts()) if row.engine == "ranks"}
    assert lanes == {"up to 2 processes, which it starts; or those that torchrun started, on any hosts"}


def test_a_graph_has_lanes_in_al_and_none_in_bp():
    lanes = {row.method: row.lanes for row in engine_availability(facts(gpus=[GPU])) if row.engine == "graph"}
    assert lanes["al"].startswith("branches of one CUDA graph")
    assert lanes["bp"].startswith("none")


def test_stacked_ticks_are_not_compiled_by_a_torch_that_does_it_wrongly(monkeypatch):
    monkeypatch.setattr(availability.shutil, "which", lambda _: "/bin/g++")
    assert reasons(torch="2.11.0+cu130")["fused-compiled"].startswith("torch 2.11.0+cu130 compiles it wrongly")
    assert reasons(torch="2.12.1")["fused-compiled"] == ""
    assert reasons(torch="2.11.0", gpus=[GPU])["fused-compiled"] == "", "it is on a CPU that it does"


@pytest.mark.parametrize("device_is_there", [True, False])
def test_torch_names_the_gpus_where_nvml_is_silent(monkeypatch, tmp_path, device_is_there):
    python, device = tmp_path / "python", tmp_path / "nvidia0"
    python.write_text(f"#!/bin/sh\necho '{json.dumps([GPU])}'\n")
    python.chmod(0o755)
    if device_is_there:
        device.touch()
    monkeypatch.setattr(availability.sys, "executable", str(python))
    monkeypatch.setattr(availability, "DEVICE_FILES", (device,))
    silent = facts(gpu_reason="NVML: Shared Library Not Found")
    assert with_gpus_of_torch(silent)["gpus"] == ([GPU] if device_is_there else [])
    python.write_text("#!/bin/sh\nexit 1\n")
    assert with_gpus_of_torch(silent) == silent
    other = {"name": "another", "memory_bytes": 1, "driver": None}
    assert with_gpus_of_torch(facts(gpus=[other]))["gpus"] == [other]


@pytest.mark.parametrize("name", SUITES)
def test_no_suite_for_the_cpu_starts_an_engine_of_cuda_lanes(name):
    cuda = {engine for method in METHODS.values() for engine in method.cuda_engines}
    assert cuda
    assert not cuda & {one.engine for one in suite_scenarios(name, cores=2) if one.device == "cpu"}


def test_a_device_that_is_missing_is_refused_before_any_case(monkeypatch):
    """Not as a failure of each case of a sweep, with the driver's essay in it."""
    monkeypatch.setattr(availability, "cuda_answers", lambda: False)
    with pytest.raises(UsageError, match=r"device is 'cuda': it needs a CUDA device \(NVML: no driver\); give device"):
        refuse_missing_cuda(facts(gpu_reason="NVML: no driver"))
    refuse_missing_cuda(facts(gpus=[GPU]))


def test_a_device_that_only_torch_finds_is_one(monkeypatch):
    """A container may have CUDA and no NVML: then there is no telemetry of the GPU, and the sweep runs."""
    monkeypatch.setattr(availability, "cuda_answers", lambda: True)
    refuse_missing_cuda(facts(gpu_reason="NVML: Shared Library Not Found"))
    with pytest.raises(UsageError, match="needs a CUDA device"):
        refuse_missing_cuda(facts(torch="not installed"))


@pytest.mark.parametrize(("answer", "found"), [("0", True), ("1", False)])
def test_torch_is_asked_in_a_process_of_its_own(monkeypatch, tmp_path, answer, found):
    """The sweep's own process must not touch CUDA, and a torch that breaks there must not end it."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {answer}\n")
    python.chmod(0o755)
    monkeypatch.setattr(availability.sys, "executable", str(python))
    assert availability.cuda_answers() == found
    monkeypatch.setattr(availability.sys, "executable", str(tmp_path / "nothing"))
    assert not availability.cuda_answers()
