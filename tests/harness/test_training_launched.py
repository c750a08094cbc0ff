"""`albench train` under ``torchrun``: the processes that it started are the lanes, and rank 0 speaks for all."""

import subprocess

import pytest

from albench.errors import UsageError
from albench.harness.recipe import Recipe
from tests.hosts import TORCHRUN, environment, torchrun_on_two_hosts

pytestmark = pytest.mark.timeout(180)

TRAIN = ["-m", "albench", "train", "--epochs", "1", "--no-progress"]


def recipe(**changes):
    given = {
        "method": "gpipe",
        "engine": None,
        "dataset": "digits",
        "hidden_layers": 4,
        "width": 8,
        "bridge_width": None,
        "batch_size": 32,
        "epochs": 1,
        "learning_rate": 1e-3,
        "lanes": None,
        "seed": 0,
    }
    return Recipe(**given | changes)


@pytest.fixture
def launched(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("launched")
def test_the_launchers_processes_are_the_lanes_or_the_copies():
    assert recipe().scenario(1).lanes == 3
    assert recipe(method="al", engine="ranks", hidden_layers=6).scenario(1).lanes == 3
    assert recipe(method="al-ddp", batch_size=33).scenario(1).replicas == 3


@pytest.mark.usefixtures("launched")
def test_what_runs_in_one_process_is_not_started_three_times():
    with pytest.raises(UsageError, match="3 processes were launched and method 'bp' on engine 'eager' runs in one"):
        recipe(method="bp")


def test_gpipe_on_one_host():
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", *TRAIN, "--method", "gpipe"]
    done = subprocess.run(command, check=False, timeout=150, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/1") == 1
    assert "held-out accuracy" in done.stdout


def test_1f1b_on_two_hosts(two_hosts):
    """They meet through torchrun's rendezvous; gloo takes the interface that leads to the store."""
    ended = torchrun_on_two_hosts(two_hosts[0], 29512, [*TRAIN, "--method", "1f1b"])
    assert [returncode for returncode, _, _ in ended] == [0, 0], ended
    assert "".join(output for _, output, _ in ended).count("epoch 1/1") == 1
