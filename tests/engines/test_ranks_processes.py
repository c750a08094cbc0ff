"""The ranks engine's processes: killed, stopped, dropped, forked or interrupted, they end, and none stays behind."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest

from albench.engines import RankError, make_engine
from albench.errors import UsageError
from tests.conftest import obey_ctrl_c
from tests.engines.left_behind import assert_nothing_left, crew_processes
from tests.engines.made_up import batches, network
from tests.forked_script import ForkedScript

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("link", ["ring", "gloo"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_ends_the_run_with_its_rank_and_the_signal(number, link):
    with make_engine("ranks", network(8), lanes=4, link=link) as engine:

        def killing():
            for k in itertools.count():
                if k == 50:
                    crew_processes()[1].send_signal(number)
                yield batches(1)[0]

        start = time.monotonic()
        with pytest.raises(RankError, match=f"rank [123] ended by signal {number.name}") as caught:
            engine.fit(killing())
        assert caught.value.rank in (1, 2, 3)
        assert time.monotonic() - start < 20
        assert_nothing_left()


def test_a_process_that_dies_between_runs_is_reported_by_the_next():
    with make_engine("ranks", network(8), lanes=2) as engine:
        engine.fit(batches(2))
        for process in crew_processes():
            process.kill()
            process.wait()
        with pytest.raises(RankError, match="rank 1 ended by signal SIGKILL"):
            engine.fit(batches(2))
        assert_nothing_left()


@pytest.mark.parametrize("link", ["ring", "gloo"])
def test_a_process_that_stops_is_taken_for_dead(link):
    """SIGSTOP: it is there, its links are open, and nothing comes. Heartbeats tell."""
    with make_engine("ranks", network(8), lanes=2, rank_timeout_seconds=2, link=link) as engine:

        def stopping():
            for k in itertools.count():
                if k == 50:
                    crew_processes()[0].suspend()
                yield batches(1)[0]

        with pytest.raises(RankError, match="rank 1 showed no life for 2 s"):
            engine.fit(stopping())
        assert_nothing_left()


def test_an_engine_that_is_dropped_leaves_nothing():
    engine = make_engine("ranks", network(8), lanes=3)
    engine.fit(batches(2))
    assert len(crew_processes()) == 2
    del engine
    assert_nothing_left()


def run_script(tmp_path, text, **options):
    script = tmp_path / "script.py"
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
        preexec_fn=obey_ctrl_c,
        **options,
    )


def test_a_real_ctrl_c_ends_the_run_and_every_process(tmp_path):
    """SIGINT to the whole group, as a terminal sends it, in the middle of a long fit."""
    text = (
        "import itertools, sys\n"
        "from albench.engines import make_engine\n"
        "from tests.engines.made_up import batches, network\n"
        "def endless():\n"
        "    for k in itertools.count():\n"
        "        if k == 20: print('running', flush=True)\n"
        "        yield batches(1)[0]\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        make_engine('ranks', network(8), lanes=3).fit(endless())\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(77)\n"
    )
    with run_script(tmp_path, text, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            family = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 77, errors
    assert not errors
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive


def test_children_end_with_a_parent_that_is_killed(tmp_path):
    text = (
        "import time\n"
        "from albench.engines import make_engine\n"
        "from tests.engines.made_up import batches, network\n"
        "if __name__ == '__main__':\n"
        "    engine = make_engine('ranks', network(8), lanes=3)\n"
        "    engine.fit(batches(3))\n"
        "    print('running', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with run_script(tmp_path, text) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3
        process.kill()
        process.communicate()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive


def test_a_script_without_a_main_guard_runs_once(tmp_path):
    """Children import nothing of the caller's script unless the network's classes are defined there."""
    text = (
        "from albench.engines import make_engine\n"
        "from tests.engines.made_up import batches, network\n"
        "print('once')\n"
        "with make_engine('ranks', network(8), lanes=2) as engine:\n"
        "    engine.fit(batches(3))\n"
        "print(engine.minibatches_seen)\n"
    )
    (tmp_path / "script.py").write_text(text)
    process = ForkedScript(tmp_path / "script.py")
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert out == "once\n3\n"


def test_a_forked_copy_that_is_dropped_ends_nothing_and_does_not_hang():
    """A worker that was forked to load data has a copy of the engine, without the threads that belong to it."""
    with make_engine("ranks", network(4), lanes=2) as engine:
        engine.fit(batches(2))
        held = [engine]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
            pid = os.fork()
        if pid == 0:
            held[0].close()
            os._exit(0)
        deadline = time.monotonic() + 20
        while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.02)
        if not ended[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert ended == (pid, 0)
        engine.fit(batches(2))
        assert engine.minibatches_seen == 4


@pytest.mark.parametrize("daemon", [True, False])
def test_an_engine_in_a_forked_child(daemon):
    """A daemonic process may have no children, and is told so; any other one gets a forkserver of its own."""
    with make_engine("ranks", network(4), lanes=2):
        pass  # this process has a forkserver now, and the child inherits what it knows of it
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=answer_minibatches, args=(writer,), daemon=daemon)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    writer.close()
    assert reader.poll(60)
    assert reader.recv() == ("a daemonic process may have no children" if daemon else "3")
    child.join()
    reader.close()


def answer_minibatches(writer):
    try:
        with make_engine("ranks", network(4), lanes=2) as engine:
            engine.fit(batches(3))
            writer.send(str(engine.minibatches_seen))
    except UsageError as error:
        writer.send(str(error).partition(":")[0])


def test_engines_made_and_dropped_again_and_again_pile_nothing_up():
    process, counts = psutil.Process(), []
    for k in range(9):
        with make_engine("ranks", network(4), lanes=2, link="gloo" if k % 2 else "ring") as engine:
            engine.fit(batches(2))
        if k % 4 == 0:
            counts.append((process.num_fds(), process.num_threads()))
    assert counts[2] <= counts[1]
