"""Environment: what a measurement ran on, recorded with every record and shown by ``albench env``.

Nothing here imports torch: versions come from the installed packages, the GPU from NVML.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from albench.harness.nvml import answered
from albench.machine import usable_cores
from albench.process import CHILD_VARIABLES

PACKAGES = ("albench", "torch", "torchvision", "numpy", "scipy", "scikit-learn")
THREAD_VARIABLES = (
    *CHILD_VARIABLES,
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "KMP_AFFINITY",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_MAX_CONNECTIONS",
)


def describe() -> dict[str, Any]:
    """Return the environment as plain data."""
    found, reason = gpus()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "usable_cores": usable_cores(),
        "cpu_governors": cpu_governors(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average_1_min": round(psutil.getloadavg()[0], 2),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
        "variables": CHILD_VARIABLES | {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        "gpus": found,
        "gpu_reason": reason,
    }


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def cpu_governors() -> list[str]:
    """Return the frequency governors of the cores, each name once; none where the system shows none."""
    found = set()
    for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor"):
        with contextlib.suppress(OSError):
            found.add(file.read_text().strip())
    return sorted(found)


def gpus() -> tuple[list[dict[str, Any]], str]:
    """Return the GPUs that NVML sees, and why there are none where there are none.

    Whatever a driver, a container or a slice of a card cannot tell is None: not to know a card's memory is no reason
    to have no card.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # an old or a broken library raises what it likes, and none is worth a sweep
        return [], f"NVML: {error}"

    try:
        handles = [answered(partial(pynvml.nvmlDeviceGetHandleByIndex, i)) for i in range(pynvml.nvmlDeviceGetCount())]
        driver = answered(lambda: pynvml.nvmlSystemGetDriverVersion())
        found = []
        for handle in handles:
            if handle is not None:
                name, memory = answered(partial(pynvml.nvmlDeviceGetName, handle)), None
                if (room := answered(partial(pynvml.nvmlDeviceGetMemoryInfo, handle))) is not None:
                    memory = int(room.total)
                found.append({"name": _text(name), "memory_bytes": memory, "driver": _text(driver)})
    except Exception as error:
        return [], f"NVML: {error}"
    finally:
        answered(lambda: pynvml.nvmlShutdown())
    return found, "" if found else "NVML sees no GPU"


def commit() -> str:
    """Return the commit of the checkout that this package runs from; "" where there is none.

    Where files of the package were changed since, a "+" and a hash of the changes follow: two trees of one commit are
    not the same. New files that git was not told of are not among them.
    """
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> bytes:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, timeout=10, check=True).stdout.strip()

    try:
        top = git("rev-parse", "HEAD").decode()
        changes = git("diff", "HEAD", "--no-ext-diff", "--binary", "--", str(here.parent))
    except (OSError, subprocess.SubprocessError):
        return ""
    return top[:12] + (f"+{hashlib.sha256(changes).hexdigest()[:6]}" if changes else "")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
