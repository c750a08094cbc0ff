"""What a case may take of the memory: whose memory counts, and when the machine itself is short of it."""

import subprocess
import sys

import pytest

from albench.harness import memory_limit
from albench.harness.memory_limit import MemoryLimit

MIB = 2**20
HOLD = "b = bytearray(150 * 2**20); b[::4096] = b[::4096]; print(flush=True); input()"
NEST = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


@pytest.fixture
def free(monkeypatch):
    """Set how much memory seems to be free, by appending to the list."""
    told = [8192 * MIB]
    monkeypatch.setattr(memory_limit, "free_memory_bytes", lambda: told[-1])
    return told


@pytest.fixture
def holding():
    """Start processes that hold 150 MiB each until the test is over."""
    started = []

    def start(source=HOLD):
        process = subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline()

    yield start
    for process in started:
        process.communicate(b"\n", timeout=30)


def test_a_case_is_not_blamed_for_what_a_neighbour_takes(free, holding):
    """The tests themselves were such neighbours once: a case was ended for their memory."""
    holding()
    limit = MemoryLimit(100 * MIB)
    free.append(4096 * MIB)
    assert limit.excess() is None


@pytest.mark.parametrize("source", [HOLD, NEST], ids=["a process", "a process of a process"])
def test_what_the_processes_of_a_case_hold_counts(source, free, holding):
    limit = MemoryLimit(100 * MIB)
    holding(source)
    assert limit.excess() is None  # nothing much is taken yet, so nobody is asked
    free.append(8000 * MIB)
    assert limit.excess().endswith("GiB of memory, beyond its limit of 0.1 GiB")
    assert MemoryLimit(100 * MIB).excess() is None  # those that were there before are not the case's


@pytest.mark.parametrize("limit_bytes", [None, 100 * MIB])
def test_the_machine_is_spared_whoever_took_its_memory(limit_bytes, free):
    limit = MemoryLimit(limit_bytes)
    free.append(1024 * MIB)
    assert limit.excess() is None
    free.append(716 * MIB)
    assert limit.excess() == "ended when 0.7 GiB of memory were left, to spare the rest of the sweep"
