"""What an engine of processes may leave behind: nothing."""

import threading
import time

import psutil


def crew_processes():
    """Return the processes of engines that this one made; they are children of its child, the forkserver."""
    return [p for server in psutil.Process().children() for p in server.children()]


def assert_nothing_left():
    deadline = time.monotonic() + 10
    while (left := crew_processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert not [t for t in threading.enumerate() if t.name.startswith("albench")]
