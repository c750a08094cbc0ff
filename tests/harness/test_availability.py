"""Availability: what cannot be had here is said with its reason, and torch is asked only where there is a GPU."""

import pytest

from albench.engines import shares
from albench.harness.availability import share_availability

GPU = {"name": "a GPU", "memory_bytes": 2**34, "driver": "600.1"}


def facts(*, gpus=(), gpu_reason="", torch="2.15.0"):
    return {"packages": {"torch": torch}, "gpus": list(gpus), "gpu_reason": gpu_reason}


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
