"""Ranks that a launcher starts: torchrun on one host and on two, and what every rank says when one of them fails."""

import contextlib
import socket
import subprocess
import sys
import time

import pytest
import torch

from albench.engines import make_engine
from albench.errors import UsageError
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained
from tests.forked_script import ForkedScript
from tests.hosts import environment, torchrun_on_two_hosts

pytestmark = pytest.mark.timeout(180)

PROGRAM = """
import os, sys, time, itertools, torch
from pathlib import Path
from albench.engines import make_engine
from tests.engines.made_up import batches, network
rank = int(os.environ["RANK"])
folder = Path(sys.argv[1])
net = network(8, seed=rank)  # rank 0's weights count
data = batches(20, ragged=3)
with make_engine("ranks", net, learning_rate=1e-2, rank_timeout_seconds=3) as engine:
"""

TRAIN = """
    for part in (data[:7], data[7:]):
        engine.fit(part if rank == 0 else [])
    state = engine.state_dict()
    engine.load_state_dict(state if rank == 0 else None)
    assert engine.minibatches_seen == 21
    torch.save({"state": engine.state_dict(), "losses": losses, "notes": engine.notes}, folder / f"{rank}.pt")
""".replace("    state = engine", "    losses = engine.losses\n    state = engine", 1)

ENDLESS = """
    def endless():
        for k in itertools.count():
            if k == 20:
                (folder / "running").touch()
            yield batches(1)[0]
    engine.fit(endless())
"""

THINGS_THAT_HAPPEN = """
    def broken():
        yield from data[:5]
        raise OSError("disk gone")
    try:
        engine.fit(broken() if rank == 0 else [])
    except Exception as error:
        print(type(error).__name__, error)
    engine.fit(data[5:])
    print(engine.minibatches_seen)
with make_engine("ranks", network(4), learning_rate=1e-2) as engine:
    engine.fit(data)
    print(engine.minibatches_seen)
    if rank == 0:
        engine.state_dict()
    else:
        engine.fit([])
"""


def write(tmp_path, body):
    script = tmp_path / "train.py"
    script.write_text(PROGRAM + body)
    return script


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def two_ranks(tmp_path, body, *, prefixes=((), ()), address="127.0.0.1"):
    """Start two ranks without torchrun, which would end the second when the first one dies before it can speak.

    `prefixes`: what puts either of them on a host of its own, which takes a process of its own.
    """
    script, port = write(tmp_path, body), str(free_port())
    processes = []
    for rank in range(2):
        variables = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": address, "MASTER_PORT": port}
        if not prefixes[rank]:
            processes.append(ForkedScript(script, tmp_path, **variables))
            continue
        command = [*prefixes[rank], sys.executable, str(script), str(tmp_path)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment(**variables)))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def wait_for(path, processes):
    deadline = time.monotonic() + 90
    while not path.exists():
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def assert_same_as_serial(tmp_path, link):
    serial, losses = trained("serial", batches(20, ragged=3))
    for rank in range(2):
        saved = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert_bitwise_equal(serial, saved["state"])
        assert losses == saved["losses"]
        assert link in saved["notes"][0]


def test_ranks_of_one_host(tmp_path):
    """They hand on through memory. `torchrun --standalone` itself starts the ranks of `test_training_launched.py`."""
    with two_ranks(tmp_path, TRAIN) as ranks:
        for rank in ranks:
            _, errors = rank.communicate(timeout=90)
            assert rank.returncode == 0, errors
    assert_same_as_serial(tmp_path, "ring")


def test_torchrun_on_two_hosts(tmp_path, two_hosts):
    """They meet through torchrun's rendezvous and hand on over the network."""
    script, prefixes = write(tmp_path, TRAIN), two_hosts[0]
    for returncode, _, errors in torchrun_on_two_hosts(prefixes, 29511, [str(script), str(tmp_path)]):
        assert returncode == 0, errors
    assert_same_as_serial(tmp_path, "gloo")


def test_a_cable_that_is_cut_ends_the_job_on_both_hosts(tmp_path, two_hosts):
    """No message says so; silence does, on either side."""
    prefixes, names = two_hosts
    with two_ranks(tmp_path, ENDLESS, prefixes=prefixes, address="10.77.0.1") as ranks:
        wait_for(tmp_path / "running", ranks)
        subprocess.run([*prefixes[0], "ip", "link", "set", names[0], "down"], check=True)
        errors = [rank.communicate(timeout=60)[1] for rank in ranks]
    assert "RankError: rank 1 showed no life for 3 s" in errors[0]
    assert "RankError: rank 0 " in errors[1]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_is_killed_ends_the_other(tmp_path, victim):
    """Rank 0 holds the store, so its end looks different from the others'."""
    with two_ranks(tmp_path, ENDLESS) as ranks:
        wait_for(tmp_path / "running", ranks)
        ranks[victim].kill()
        start = time.monotonic()
        _, errors = ranks[1 - victim].communicate(timeout=60)
    assert time.monotonic() - start < 20
    assert f"RankError: rank {victim} " in errors
    assert ranks[1 - victim].returncode == 1


def test_things_that_happen_are_told_to_all_ranks(tmp_path):
    """An input that breaks off, after which the job goes on; a second engine on the same store; and different calls,
    which raise on both sides: otherwise each would wait for the other for ever."""
    with two_ranks(tmp_path, THINGS_THAT_HAPPEN) as ranks:
        said = [rank.communicate(timeout=90) for rank in ranks]
    assert said[0][0] == "OSError disk gone\n21\n21\n", said[0][1]
    assert said[1][0] == "RankError rank 0 could not read on: OSError: disk gone\n21\n21\n", said[1][1]
    for rank, (_, errors) in enumerate(said):
        assert "call the same on every rank" in errors
        assert ranks[rank].returncode == 1


@pytest.mark.parametrize(
    ("lanes", "size", "message"),
    [(3, "2", "lanes is 3, but the launcher started 2 processes"), (None, "9", "9 processes for 4 components")],
)
def test_what_the_launcher_started_must_fit(monkeypatch, lanes, size, message):
    for name, value in {"RANK": "0", "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        make_engine("ranks", network(8), lanes=lanes)
