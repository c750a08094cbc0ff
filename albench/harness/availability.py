"""Availability: which engines and which kinds of lanes this machine has, and why not the others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from albench.errors import UsageError
from albench.machine import COMPILES_TICKS_RIGHT, version_pair
from albench.methods import METHODS

DEVICE_FILES = tuple(Path("/dev") / name for name in ("nvidiactl", "nvidia0", "dxg"))
"""Where there is none of these there is no CUDA device, and torch, which takes seconds, need not be asked."""
ANSWER_SECONDS = 60.0
"""How long torch may take to say whether it finds a CUDA device; importing it takes most of that on a slow disk."""


@dataclass(frozen=True, kw_only=True)
class Availability:
    """Whether one engine of one method can run here."""

    method: str
    engine: str
    available: bool
    reason: str
    """Where it cannot: why."""
    lanes: str
    """What its lanes would be here."""


def engine_availability(facts: dict[str, Any]) -> list[Availability]:
    """Return every engine of every method, given what `albench.harness.environment.describe` found."""
    cores = facts["usable_cores"]
    kinds = {
        "serial": "1 CPU thread",
        "threads": f"up to {cores} CPU threads" + ("; with one core nothing overlaps" if cores == 1 else ""),
        "ranks": f"up to {cores} processes, which it starts; or those that torchrun started, on any hosts",
        "fused": f"all components stacked, up to {cores} intra-op threads",
        "eager": f"up to {cores} intra-op threads",
        "fused-compiled": f"all components stacked, up to {cores} intra-op threads",
        "compiled": f"up to {cores} intra-op threads",
        "streams": "CUDA streams, or shares of a GPU's multiprocessors",
        "graph": "branches of one CUDA graph, or shares of a GPU's multiprocessors",
    }
    whole = "none: the whole step is one CUDA graph"
    only_here = {("bp", "graph"): whole, ("bp", "compiled-graph"): whole}
    missing = "" if facts["packages"]["torch"] != "not installed" else "torch is not installed"
    missing_cuda = missing or _missing_cuda(facts)
    missing_compiler = missing or _missing_compiler()
    rows = []
    for name, method in METHODS.items():
        for engine in method.engines:
            reason = missing_cuda if engine in method.cuda_engines else missing
            if "compiled" in engine:
                reason = reason or missing_compiler
            if engine == "fused-compiled" and not facts["gpus"]:
                reason = reason or _wrongly_compiled(facts)
            lanes = only_here.get((name, engine)) or kinds[engine]
            rows.append(Availability(method=name, engine=engine, available=not reason, reason=reason, lanes=lanes))
    return rows


def _missing_compiler() -> str:
    """Return why torch cannot compile for the CPU; empty if it can. It takes the compiler that ``CXX`` names."""
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    if shutil.which(compiler):
        return ""
    return f"needs a C++ compiler, and {compiler} is not on the path (CXX names another); trains uncompiled without"


def _wrongly_compiled(facts: dict[str, Any]) -> str:
    """Return why stacked ticks are not compiled for the CPU; empty if they are."""
    version = str(facts["packages"]["torch"])
    if version_pair(version) >= COMPILES_TICKS_RIGHT:
        return ""
    return f"torch {version} compiles it wrongly for a CPU: install 2.12 or newer; trains uncompiled without"


def _may_have_cuda(facts: dict[str, Any]) -> bool:
    """Whether torch was not built for the CPU alone."""
    return not str(facts["packages"]["torch"]).endswith("+cpu")


def _missing_cuda(facts: dict[str, Any]) -> str:
    """Return why no CUDA device can be used; empty if one can."""
    if not _may_have_cuda(facts):
        return f"needs a CUDA device, and torch {facts['packages']['torch']} is built without CUDA"
    return "" if facts["gpus"] else f"needs a CUDA device ({facts['gpu_reason']})"


def _told_by_torch(script: str) -> bytes | None:
    """Return what a script prints, run in a process of its own: this one must not touch CUDA; None where it fails."""
    try:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, capture_output=True, timeout=ANSWER_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def cuda_answers() -> bool:
    """Whether torch finds a CUDA device: NVML is not there in every container that has one."""
    return _told_by_torch("import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)") is not None


def with_gpus_of_torch(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts with the GPUs that torch finds where NVML, which is not in every container, tells of none."""
    possible = facts["packages"]["torch"] != "not installed" and _may_have_cuda(facts)
    if facts["gpus"] or not possible or not any(file.exists() for file in DEVICE_FILES):
        return facts
    script = (
        "import json, torch\n"
        "found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]\n"
        "print(json.dumps([{'name': one.name, 'memory_bytes': one.total_memory, 'driver': None} for one in found]))"
    )
    told = _told_by_torch(script)
    try:
        return facts if told is None else facts | {"gpus": json.loads(told)}
    except ValueError:  # something else printed into it
        return facts


def refuse_missing_cuda(facts: dict[str, Any]) -> None:
    """Raise `UsageError` where there is no CUDA device, which was asked for: once, and not case by case."""
    reason = _missing_cuda(facts)
    installed = facts["packages"]["torch"] != "not installed"
    if reason and not (installed and _may_have_cuda(facts) and cuda_answers()):
        raise UsageError(f"device is 'cuda': it {reason}; give device 'cpu', or see `albench env`")


def share_availability(facts: dict[str, Any]) -> str:
    """Return "available", or why the SMs of the GPU here cannot be shared out between lanes.

    Given what `albench.harness.environment.describe` found. Where there is a GPU this initialises CUDA.
    """
    if facts["packages"]["torch"] == "not installed":
        return "no: torch is not installed"
    if not facts["gpus"]:
        return f"no: there is no GPU ({facts['gpu_reason']})"
    from albench.engines import shares  # torch takes seconds: only where there is a GPU to ask about

    reason = shares.unavailable_reason()
    return "available" if reason is None else f"no: {reason}"
