"""Fixtures of the whole suite."""

import signal
from pathlib import Path

import pytest

from albench.harness.isolation import PRELOAD
from albench.process import child_environment, forkserver
from tests.hosts import two_hosts

with child_environment():  # OpenMP reads it as torch is loaded; else two threads on a busy machine wait by spinning
    import torch

__all__ = ["two_hosts"]

HERE = Path(__file__).parent

forkserver(PRELOAD)  # one server for all children that tests make: what it has not imported each of them would


def pytest_report_header() -> str:
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return f"torch {torch.__version__}, CUDA device: {cuda}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whole commands first: they take longest, and what comes last is waited for by all workers.
    items.sort(key=lambda item: item.path.parent != HERE)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; torch sees none"))


def obey_ctrl_c() -> None:
    """Make a child process obey SIGINT, as one started from a terminal does.

    For ``preexec_fn``: where the suite itself runs in the background, SIGINT is ignored and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Nothing here should depend on torch's global random state; where it does after all, it is at least the same."""
    torch.manual_seed(0)
