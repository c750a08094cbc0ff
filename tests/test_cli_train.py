"""`albench train` as a user meets it: recipes, runs that are interrupted and killed, and bad input in one line."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from albench import cli
from albench.harness import checkpoint, epoch_log
from tests.conftest import obey_ctrl_c
from tests.harness.test_keeping import assert_same_run

pytestmark = pytest.mark.timeout(240)

RECIPE = """
width = 64
batch_size = 8
epochs = 8
learning_rate = 1e-3
rate_steps = [{ at = 0.5, factor = 0.1 }]
epsilon = "tensorflow"

[al]
engine = "serial"
"""


def train(*arguments):
    return CliRunner().invoke(cli.app, ["train", *map(str, arguments)])


def started(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # two would wait for each other, where other tests run beside
    command = [sys.executable, "-m", "albench", "train", *map(str, arguments), "--no-progress"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=obey_ctrl_c
    )


def wait_for_epochs(process, directory, count):
    """Wait until the log has so many epochs; the process is then in the middle of the next one, or saving."""
    deadline = time.monotonic() + 120
    file = directory / epoch_log.FILE_NAME
    while not (file.exists() and file.read_bytes().count(b'"albench-epoch"') >= count):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_that_was_interrupted_and_killed_ends_as_one_that_was_not(tmp_path):
    """Ctrl-C after two epochs, SIGKILL some epochs later, and a third that comes to the end."""
    (tmp_path / "mine.toml").write_text(RECIPE)
    arguments = ("--recipe", tmp_path / "mine.toml", "--method", "al", "--lanes", "2", "--out")
    stopped = tmp_path / "stopped"
    first = started(*arguments, stopped)
    wait_for_epochs(first, stopped, 2)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    (line,) = said.strip().splitlines()
    assert line.startswith("albench: interrupted; `albench train --recipe ")
    assert line.endswith("--no-progress --resume` goes on from the last checkpoint")
    done = checkpoint.read(stopped).epoch
    second = started(*arguments, stopped, "--resume")
    wait_for_epochs(second, stopped, done + 2)  # the checkpoint is one behind, or about to be written
    os.kill(second.pid, signal.SIGKILL)
    second.communicate(timeout=60)
    last, whole = (train(*arguments, *rest, "--no-progress") for rest in ((stopped, "--resume"), (tmp_path / "whole",)))
    assert (last.exit_code, whole.exit_code) == (0, 0), last.output + whole.output
    went_on = re.search(r"going on after epoch (\d+), from ", last.stdout)
    assert int(went_on[1]) > done, "the second process got further than the first"
    assert "epoch 8/8" in last.stdout
    assert "training accuracy" in whole.stdout
    assert_same_run(tmp_path / "whole", stopped)
    assert len(epoch_log.read(stopped).resumed) == 2


def test_ctrl_c_without_a_directory_says_that_nothing_is_kept(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("albench.harness.training.load_dataset", interrupted)
    result = train("--method", "al")
    assert result.exit_code == 130
    assert result.stderr == "albench: interrupted; nothing is kept of it: with --out DIR the next one can go on\n"


BAD = {
    "recipe": (["--recipe", "mnist-mpl"], "did you mean 'mnist-mlp'"),
    "recipe's data": (["--recipe", "mnist-mlp"], "--data-dir"),
    "a batch of more than there is": (
        ["--batch-size", "1000000000"],
        "batch size is 1000000000: digits has 1437 training instances, give at most so many",
    ),
    "network": (["--network", "cn"], "unknown network 'cn'"),
    "network of images": (["--network", "cnn"], "data set digits has instances of shape [64]: it takes images"),
    "its depth": (["--network", "cnn", "--hidden-layers", "4"], "'cnn' has 8, give that or leave it out"),
    "bridge": (["--bridge", "round"], "unknown bridge 'round'"),
    "weight decay": (["--weight-decay", "-1"], "weight decay is -1.0"),
    "decayed": (["--decayed", "biases"], "unknown kind of decayed parameters 'biases'"),
    "epsilon": (["--epsilon", "tensorflaw"], "did you mean 'tensorflow'"),
    "epsilon of an engine": (["--epsilon", "tensorflow", "--engine", "fused"], "give epsilon 'torch', or engine"),
    "engine of a device": (["--engine", "streams"], "it runs on a CUDA device only, give device 'cuda', or engine"),
    "augmentation": (["--augmentation", "jiter"], "did you mean 'jitter'"),
    "augmentation of no images": (["--augmentation", "cifar"], "augmentation is for images"),
    "resume of nothing": (["--resume"], "--resume needs a run to go on with"),
    "unwritable": (["--out", "/proc/albench"], "cannot be written"),
    "no checkpoints": (["--out", "{out}", "--checkpoint-every", "0"], "epochs between checkpoints is 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_status_2(case, tmp_path, monkeypatch):
    monkeypatch.delenv("ALBENCH_DATA_DIR", raising=False)
    arguments, words = BAD[case]
    result = train("--method", "al", *[argument.format(out=tmp_path) for argument in arguments])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert words in line


@pytest.mark.parametrize("method", ["al", "bp"])
def test_a_network_that_no_memory_holds_is_told_in_one_line(method):
    """torch's own error is a RuntimeError with a page of where it happened."""
    result = train("--method", method, "--width", 10**7, "--no-progress")
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("albench: out of memory (")
    assert line.endswith("give a smaller width or batch size, or another device")


def test_networks_and_recipes_are_listed():
    listed = CliRunner().invoke(cli.app, ["list"]).stdout
    assert all(name in listed for name in ("resnet32", "cifar100-vgg", "Table 2: MLP on MNIST"))
