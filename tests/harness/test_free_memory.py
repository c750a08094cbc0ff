"""Free memory is the machine's, or the container's where that has less, and files that were read do not count."""

import psutil
import pytest

from albench.harness import free_memory
from albench.harness.free_memory import free_memory_bytes, oom_kills

MIB = 2**20


@pytest.fixture
def container(tmp_path, monkeypatch):
    """Return a function that puts this process into a container with these limits."""
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)

    def put(limit, used, inactive_file=0):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
        (tmp_path / "memory.stat").write_text(f"anon {used}\ninactive_file {inactive_file}\nactive_file 7\n")

    return put


def test_a_container_may_have_less_than_the_machine(container):
    container(100 * MIB, 70 * MIB)
    assert free_memory_bytes() == 30 * MIB


def test_a_container_whose_files_fill_its_limit_is_not_full(container):
    """The system gives those pages back; a sweep in it was told to be out of memory."""
    container(100 * MIB, 100 * MIB, inactive_file=60 * MIB)
    assert free_memory_bytes() == 60 * MIB


@pytest.mark.parametrize("limit", ["max", 2**60])
def test_a_container_without_a_limit_has_the_machines(container, limit):
    container(limit, 5 * MIB)
    assert free_memory_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_without_a_container_it_is_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path / "nowhere")
    assert free_memory_bytes() > 0


def test_what_the_system_has_killed_is_counted_where_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)
    monkeypatch.setattr(free_memory, "VMSTAT", tmp_path / "vmstat")
    assert oom_kills() is None
    (tmp_path / "vmstat").write_text("nr_free_pages 7\noom_kill 2\n")
    assert oom_kills() == 2
    (tmp_path / "memory.events").write_text("low 0\noom 5\noom_kill 3\noom_group_kill 0\n")
    assert oom_kills() == 5
    (tmp_path / "memory.events").write_text("oom_kill many\n")
    assert oom_kills() == 2
