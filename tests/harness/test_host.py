"""Readings of this machine: our own processes are told from others, whoever ended in between."""

import contextlib
import os
import subprocess
import sys
import time

import psutil
import pytest

from albench.harness.host import Host

pytestmark = pytest.mark.timeout(60)
BUSY = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


@contextlib.contextmanager
def tree():
    """Start a process that does nothing, as the root of a tree that is not this test's."""
    root = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        yield root.pid
    finally:
        root.kill()
        root.wait()


def test_a_reading_has_sane_values():
    host = Host(os.getpid())
    first = host.read()
    second = host.read()
    assert len(first.core_seconds) == psutil.cpu_count()
    assert 0 < first.memory_bytes < psutil.virtual_memory().total
    assert first.at < second.at <= time.perf_counter()
    assert all(b >= a for a, b in zip(first.core_seconds, second.core_seconds, strict=True))
    assert second.own_seconds >= first.own_seconds > 0
    assert second.sampler_seconds >= first.sampler_seconds > 0
    assert first.frequency_hertz is None or first.frequency_hertz > 1e8


def test_a_child_counts_as_ours_while_it_runs_and_after_it_ended():
    host = Host(os.getpid())
    before = host.read()
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    after = host.read()
    assert after.own_seconds - before.own_seconds >= 0.35
    assert sum(after.core_seconds) - sum(before.core_seconds) >= 0.35


def test_a_grandchild_counts_as_ours():
    host = Host(os.getpid())
    before = host.read()
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"
    process = subprocess.Popen([sys.executable, "-c", nested])
    while process.poll() is None:
        host.read()
        time.sleep(0.05)
    assert host.read().own_seconds - before.own_seconds >= 0.35


def test_a_child_that_is_born_between_readings_counts_while_it_runs():
    """As a case does: it is there when the window begins, and has not ended when it does."""
    host = Host(os.getpid())
    host.read()
    before = host.read()
    with subprocess.Popen([sys.executable, "-c", f"{BUSY}\nprint(flush=True)\ntime.sleep(100)"], stdout=-1) as child:
        try:
            child.stdout.readline()
            assert host.read().own_seconds - before.own_seconds >= 0.35
        finally:
            child.kill()


def test_another_trees_work_is_not_ours():
    with tree() as root:
        host = Host(root)
        before = host.read()
        subprocess.run([sys.executable, "-c", BUSY], check=True)
        after = host.read()
    assert after.own_seconds - before.own_seconds < 0.1
    assert sum(after.core_seconds) - sum(before.core_seconds) >= 0.35


def test_the_count_never_falls_while_processes_come_and_go():
    host = Host(os.getpid())
    counts = []
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-S", "-c", "sum(range(10**6))"])
        for _ in range(5):
            counts.append(host.read().own_seconds)
            time.sleep(0.01)
        child.wait()
        counts.append(host.read().own_seconds)
    assert counts == sorted(counts)


def test_a_root_that_is_gone_is_no_error():
    with tree() as root:
        host = Host(root)
        before = host.read().own_seconds
    assert host.read().own_seconds == before


def test_a_machine_whose_frequency_cannot_be_read_has_none(monkeypatch):
    def broken():
        raise ValueError("a file that nobody expected")

    monkeypatch.setattr(psutil, "cpu_freq", broken)
    assert Host(os.getpid()).read().frequency_hertz is None
