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
    monkeypatch.setattr(free_memory, "MEMBERSHIP", tmp_path / "no such file")

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


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Return a function that puts this process into groups, each with files of its own."""
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(free_memory, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(free_memory, "VMSTAT", tmp_path / "no such file")

    def put(membership, **files):
        (tmp_path / "membership").write_text(membership)
        for place, content in files.items():
            for name, text in content.items():
                path = tmp_path / "cgroup" / place.replace("__", "/") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

    return put


def test_the_narrowest_of_the_groups_around_it_holds(groups):
    """A job of a batch system or a unit of systemd has its limit further down, and the one around it may be fuller."""
    inner = {"memory.max": f"{90 * MIB}\n", "memory.current": f"{20 * MIB}\n"}
    outer = {"memory.max": f"{100 * MIB}\n", "memory.current": f"{60 * MIB}\n"}
    groups("0::/system.slice/job\n", **{"system.slice": outer, "system.slice__job": inner})
    assert free_memory_bytes() == 40 * MIB


def test_groups_of_the_first_version_are_read_too(groups):
    files = {
        "memory.limit_in_bytes": f"{64 * MIB}\n",
        "memory.usage_in_bytes": f"{60 * MIB}\n",
        "memory.stat": f"cache 1\ntotal_inactive_file {6 * MIB}\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    }
    groups("5:devices:/\n4:memory:/job\n0::/\n", **{"memory__job": files})
    assert free_memory_bytes() == 10 * MIB
    assert oom_kills() == 3


def test_what_the_system_has_killed_is_counted_where_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(free_memory, "CGROUP", tmp_path)
    monkeypatch.setattr(free_memory, "MEMBERSHIP", tmp_path / "no such file")
    monkeypatch.setattr(free_memory, "VMSTAT", tmp_path / "vmstat")
    assert oom_kills() is None
    (tmp_path / "vmstat").write_text("nr_free_pages 7\noom_kill 2\n")
    assert oom_kills() == 2
    (tmp_path / "memory.events").write_text("low 0\noom 5\noom_kill 3\noom_group_kill 0\n")
    assert oom_kills() == 5
    (tmp_path / "memory.events").write_text("oom_kill many\n")
    assert oom_kills() == 2
