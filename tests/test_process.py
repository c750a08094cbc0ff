"""Processes: a child ends with its parent, how it ended can be told, and starting one leaves this process as it was."""

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import psutil
import pytest

from albench.process import (
    CHILD_VARIABLES,
    PARENT_DIED,
    child_environment,
    describe_exit,
    end_process,
    forkserver,
    leave_uncollected,
    nameless_main,
    watch_parent,
)

pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def child_of(target, *args):
    process = forkserver().Process(target=target, args=args)
    with nameless_main(), child_environment():
        process.start()
    try:
        yield process
    finally:
        end_process(process, 0.0)
        process.close()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit status 0"),
        (7, "ended with exit status 7"),
        (-9, "ended by signal SIGKILL"),
        (-11, "ended by signal SIGSEGV"),
        (-40, "ended by signal 40"),
    ],
)
def test_how_a_process_ended_is_told_in_words(code, words):
    """A real-time signal has no name; whoever asks must not fail over it."""
    assert describe_exit(code) == words


def frozen_objects(pipe):
    before = gc.get_freeze_count()
    leave_uncollected()
    pipe.send((before, gc.get_freeze_count(), len(gc.get_objects())))


def test_the_collector_leaves_alone_what_a_child_had_when_it_was_made():
    """A collection in a timed window would be charged to methods with processes of their own, and to no other."""
    ours, theirs = multiprocessing.Pipe()
    with child_of(frozen_objects, theirs):
        before, after, watched = ours.recv()
    assert after > before + 1000
    assert watched < 1000


def test_a_child_that_ends_in_time_is_not_killed():
    with child_of(time.sleep, 0.05) as process:
        end_process(process, 20.0)
        assert process.exitcode == 0


@pytest.mark.parametrize("target", ["sleeps", "ignores SIGTERM"])
def test_a_child_that_does_not_end_is_killed(target):
    with child_of(time.sleep if target == "sleeps" else stubborn, 600) as process:
        start = time.monotonic()
        end_process(process, 0.2)
        assert process.exitcode == -signal.SIGKILL
        assert time.monotonic() - start < 10


def stubborn(seconds):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(seconds)


def test_a_child_ends_when_its_parent_is_killed():
    """The parent is a child of this process, and cannot say good-bye."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    with child_of(parent_of_a_watching_child, writer) as parent:
        writer.close()
        assert reader.poll(40)
        child = psutil.Process(reader.recv())
        parent.kill()
        parent.join()
        gone, _ = psutil.wait_procs([child], timeout=10)
        assert gone
    reader.close()


def parent_of_a_watching_child(writer):
    child = multiprocessing.get_context("fork").Process(target=watching, args=(writer,))
    child.start()
    time.sleep(600)


def watching(writer):
    watch_parent()
    writer.send(os.getpid())
    time.sleep(600)


def test_watching_without_a_parent_is_nothing():
    before = threading.active_count()
    watch_parent()
    assert threading.active_count() == before
    assert PARENT_DIED not in (0, 1, 2)


def test_starting_leaves_environment_and_main_module_as_they_were(monkeypatch):
    first, *others = CHILD_VARIABLES
    monkeypatch.setenv(first, "the user's")
    for name in others:
        monkeypatch.delenv(name, raising=False)
    main, environment = sys.modules["__main__"], dict(os.environ)
    with contextlib.suppress(KeyError), nameless_main(), child_environment():
        assert os.environ[first] == "the user's"
        assert all(os.environ[name] == CHILD_VARIABLES[name] for name in others)
        assert sys.modules["__main__"] is not main
        raise KeyError  # as when the child cannot be started
    assert sys.modules["__main__"] is main
    assert dict(os.environ) == environment


def test_two_threads_that_start_children_at_once_leave_all_as_it_was(monkeypatch):
    """Each borrows what is the whole process's; the second must not give back what the first had lent."""
    for name in CHILD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    main, environment, errors = sys.modules["__main__"], dict(os.environ), []

    def start(entered, seconds):
        try:
            with nameless_main(), child_environment():
                entered.set()
                time.sleep(seconds)
        except Exception as error:
            errors.append(error)

    entered = threading.Event()
    first = threading.Thread(target=start, args=(entered, 0.1))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=start, args=(threading.Event(), 0.1))
    second.start()
    first.join()
    second.join()
    assert not errors
    assert sys.modules["__main__"] is main
    assert dict(os.environ) == environment


FORKS = """
import multiprocessing, time
from albench.process import forkserver
if __name__ == "__main__":
    child = forkserver().Process(target=print, args=("child",), kwargs={"flush": True})
    child.start()
    child.join()
    def grandchild():
        process = forkserver().Process(target=print, args=("grandchild",), kwargs={"flush": True})
        process.start()
        process.join()
        assert process.exitcode == 0
    forked = multiprocessing.get_context("fork").Process(target=grandchild)
    forked.start()
    forked.join()
    print(forked.exitcode)
"""


def test_a_forked_child_may_have_children_of_its_own(tmp_path):
    """It inherits what this process knows of its forkserver, which is not the fork's child to wait for."""
    script = tmp_path / "forks.py"
    script.write_text(FORKS)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=50, env=environment, check=False
    )
    assert done.stdout.split() == ["child", "grandchild", "0"], done.stderr


def test_a_fork_while_a_child_is_started_may_start_one():
    """The thread that held the lock is not copied."""
    with nameless_main(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what is tried here
        outcome = []

        def fork():
            pid = os.fork()
            if pid == 0:
                with nameless_main():
                    os._exit(0)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    outcome.append(status)
                    return
                time.sleep(0.01)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    assert outcome == [0]
