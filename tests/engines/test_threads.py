"""The threads engine: the pipeline must end where the serial order ends, to the last bit, and never hang."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from albench.engines import ComponentError, make_engine
from albench.errors import UsageError
from tests.conftest import obey_ctrl_c
from tests.engines.made_up import CLASSES, FEATURES, assert_bitwise_equal, batches, network, trained

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("lanes", [1, 2, 3, None])
@pytest.mark.parametrize("hidden_layers", [2, 4, 8, 14])
def test_bitwise_equal_to_serial(hidden_layers, lanes):
    """Weights, optimizer state and losses, with a ragged last mini-batch; None: a lane for every component."""
    data = batches(20, ragged=3)
    options = {"hidden_layers": hidden_layers}
    serial, serial_losses = trained("serial", data, **options)
    threads, threads_losses = trained("threads", data, lanes=lanes or hidden_layers // 2, **options)
    assert_bitwise_equal(serial, threads)
    assert serial_losses == threads_losses


def test_bitwise_equal_where_lanes_really_overlap():
    """Tasks of several milliseconds: both lanes are inside torch's operators at once."""
    data = batches(6, batch_size=64)
    serial, losses = trained("serial", data, net=network(6, width=384))
    for _ in range(3):
        threads, threads_losses = trained("threads", data, net=network(6, width=384), lanes=2)
        assert_bitwise_equal(serial, threads)
        assert losses == threads_losses


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": lambda k: 1e-2 / (1 + k)},
        {"weight_decay": 1e-2},
        {"distinct_targets": True},
        {"distinct_targets": False},
        {"net_bridge_width": 45},
    ],
    ids=["rate by mini-batch", "weight decay", "distinct", "plain", "two-layer bridges"],
)
def test_bitwise_equal_with_every_option(options):
    data = batches(12, ragged=2)
    bridge_width = options.pop("net_bridge_width", None)
    serial, _ = trained("serial", data, net=network(6, bridge_width=bridge_width), **options)
    threads, _ = trained("threads", data, net=network(6, bridge_width=bridge_width), lanes=3, **options)
    assert_bitwise_equal(serial, threads)


@pytest.mark.parametrize("fits", [2, 5])
def test_repeated_fit_is_one_fit(fits):
    data = batches(20, ragged=3)
    whole, whole_losses = trained("serial", data)
    parts, parts_losses = trained("threads", data, lanes=2, fits=fits)
    assert_bitwise_equal(whole, parts)
    assert whole_losses == parts_losses


@pytest.mark.parametrize("second", ["serial", "threads"])
def test_a_resumed_run_is_the_same_run(second, tmp_path):
    """Stopped, saved to a file, and finished in a fresh network, by the same engine or by another one."""
    data = batches(20, ragged=3)
    rate = lambda k: 1e-2 / (1 + k)  # noqa: E731 - resumes right only if k goes on counting
    whole, _ = trained("serial", data, learning_rate=rate)
    with make_engine("threads", network(8), learning_rate=rate, lanes=2) as engine:
        engine.fit(data[:9])
        torch.save(engine.state_dict(), tmp_path / "state.pt")
    with make_engine(second, network(8, seed=5), learning_rate=rate) as engine:
        engine.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        engine.fit(data[9:])
        assert_bitwise_equal(whole, engine.state_dict())


def test_more_lanes_than_components_are_capped_and_it_is_said():
    with make_engine("threads", network(4), lanes=7) as engine:
        assert engine.lanes == 2
        assert "7 lanes asked for, 2 used" in engine.notes[0]


def lane_threads():
    return [t for t in threading.enumerate() if t.name.startswith("albench-lane")]


def test_an_exception_in_a_lane_reaches_the_caller_and_every_thread_ends():
    net = network(8)
    calls = []

    def fail_on_the_fourth(*_):
        calls.append(1)
        if len(calls) == 4:
            raise ArithmeticError("made up")

    hook = net.components[2].f.register_forward_pre_hook(fail_on_the_fourth)
    before = torch.get_num_threads()
    with make_engine("threads", net, lanes=3) as engine:
        state = engine.state_dict()
        with pytest.raises(
            ComponentError, match="component 2 failed on mini-batch 3: ArithmeticError: made up"
        ) as caught:
            engine.fit(batches(50))
        assert caught.value.component == 2
        assert caught.value.minibatch == 3
        assert isinstance(caught.value.__cause__, ArithmeticError)
        assert not lane_threads()
        assert torch.get_num_threads() == before
        with pytest.raises(UsageError, match="load_state_dict"):
            engine.fit(batches(2))
        hook.remove()
        engine.load_state_dict(state)
        engine.fit(batches(20))
        assert_bitwise_equal(trained("serial", batches(20), learning_rate=1e-4)[0], engine.state_dict())


@pytest.mark.parametrize("error", [OSError("disk gone"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
def test_an_error_while_reading_drains_and_leaves_a_state_to_go_on_from(name, error):
    data = batches(20)

    def reader():
        yield from data[:7]
        raise error

    with make_engine(name, network(8), learning_rate=1e-2) as engine:
        with pytest.raises(type(error)):
            engine.fit(reader())
        assert not lane_threads()
        assert engine.minibatches_seen == 7
        engine.fit(data[7:])
        state = engine.state_dict()
    if name != "fused":
        assert_bitwise_equal(trained("serial", data)[0], state)


def test_input_is_read_lazily():
    """Never more mini-batches ahead of the last one finished than channels can hold, so memory is bounded."""
    finished, ahead = [], []
    net = network(4)
    net.components[-1].h.register_full_backward_hook(lambda *_: finished.append(1))

    def reader():
        for number, batch in enumerate(batches(60)):
            ahead.append(number - len(finished))
            yield batch

    with make_engine("threads", net, lanes=2) as engine:
        engine.fit(reader())
    assert len(finished) == 60
    assert max(ahead) <= 12


def test_a_real_ctrl_c_ends_the_run(tmp_path):
    """SIGINT to a process in the middle of a long fit: KeyboardInterrupt, no hang, no traceback of a lane."""
    script = tmp_path / "long.py"
    script.write_text(
        "import itertools, sys\n"
        "from albench.engines import make_engine\n"
        "from tests.engines.made_up import batches, network\n"
        "net = network(8)\n"
        "def endless():\n"
        "    for k in itertools.count():\n"
        "        if k == 20: print('running', flush=True)\n"
        "        yield batches(1)[0]\n"
        "try:\n"
        "    make_engine('threads', net, lanes=2).fit(endless())\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(77)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        preexec_fn=obey_ctrl_c,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 77, errors
    assert not errors


def test_nothing_but_the_core_is_imported():
    """A training script must not pay for the harness, nor need it."""
    script = (
        "import sys\n"
        "from albench.engines import make_engine\n"
        "from tests.engines.made_up import batches, network\n"
        "make_engine('threads', network(4), lanes=2).fit(batches(3))\n"
        "rooms = ['harness', 'report', 'analysis', 'methods', 'cli']\n"
        "foreign = ['albench.' + room for room in rooms] + ['typer', 'rich', 'pandas', 'matplotlib', 'sklearn']\n"
        "print([m for m in foreign if m in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": lambda _: -1.0}, "learning_rate is -1.0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"lanes": 0}, "lanes is 0"),
        ({"distinct_targets": "yes"}, "distinct_targets is 'yes'"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, words):
    with pytest.raises(UsageError, match=words) as caught:
        make_engine("threads", network(4), **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_engine_is_refused_with_the_nearest_names():
    with pytest.raises(UsageError, match="did you mean 'threads'"):
        make_engine("thread", network(4))


BAD_BATCHES = {
    "label beyond the classes": (torch.zeros(2, FEATURES), torch.tensor([0, CLASSES]), f"label {CLASSES}"),
    "negative label": (torch.zeros(2, FEATURES), torch.tensor([-1, 0]), "label -1"),
    "NaN": (torch.full((2, FEATURES), float("nan")), torch.zeros(2, dtype=torch.int64), "nan"),
    "infinity": (torch.full((2, FEATURES), float("inf")), torch.zeros(2, dtype=torch.int64), "inf"),
    "other precision": (torch.zeros(2, FEATURES, dtype=torch.float64), torch.zeros(2, dtype=torch.int64), "float64"),
    "labels of another type": (torch.zeros(2, FEATURES), torch.zeros(2, dtype=torch.int32), "int32"),
    "one label missing": (torch.zeros(2, FEATURES), torch.zeros(1, dtype=torch.int64), r"\[1\]"),
    "no instance": (torch.zeros(0, FEATURES), torch.zeros(0, dtype=torch.int64), r"\[0, 12\]"),
}


@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
@pytest.mark.parametrize("case", BAD_BATCHES)
def test_bad_mini_batches_are_refused_in_one_line(name, case):
    x, y, words = BAD_BATCHES[case]
    with make_engine(name, network(4)) as engine:
        with pytest.raises(UsageError, match=words) as caught:
            engine.fit([*batches(2), (x, y)])
        assert "mini-batch 2" in str(caught.value)
        assert "\n" not in str(caught.value)
        engine.fit(batches(1))  # the good ones before were trained on, and it can go on
        assert engine.minibatches_seen == 3


def test_large_finite_numbers_are_not_taken_for_infinity():
    with make_engine("serial", network(4)) as engine:
        engine.fit([(torch.full((8, FEATURES), 3e38), torch.zeros(8, dtype=torch.int64))])


def test_a_state_that_does_not_fit_changes_nothing():
    with make_engine("serial", network(4)) as other:
        foreign = other.state_dict()
    with make_engine("serial", network(6)) as engine:
        before = engine.state_dict()
        for state, words in [
            (foreign, "has 2 components, the network 3"),
            ({}, "not one of an albench engine"),
            ({**before, "version": 99}, "version 99"),
        ]:
            with pytest.raises(UsageError, match=words):
                engine.load_state_dict(state)
        assert_bitwise_equal(before, engine.state_dict())
