"""`albench trace` as a user meets it: real runs become files that viewers open, and bad input becomes one line."""

import itertools
import json
import multiprocessing

import pytest
from typer.testing import CliRunner

from albench.cli import app

pytestmark = pytest.mark.timeout(240)

SMALL = ("--width", "16", "--batch-size", "8")


def albench(*arguments):
    return CliRunner().invoke(app, ["trace", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a method"),
        (["reports", "0123", "--method", "al"], "give a method"),
        (["reports"], "give both"),
        (["nosuite", "0123"], "unknown suite"),
        (["--method", "alx"], "did you mean 'al'"),
        (["--method", "al", "--engine", "thread"], "did you mean 'threads'"),
        (["--method", "al", "--lanes", "0"], "lanes is 0"),
        (["--method", "al", "--minibatches", "0"], "minibatches is 0"),
        (["--method", "al", "--hidden-layers", "3"], "hidden layers is 3"),
        (["--method", "ddp", "--lanes", "2"], "cannot be traced: what can be is AL on serial"),
        (["--method", "al", "--out", "/proc/albench"], "cannot be written"),
    ],
    ids=str,
)
def test_bad_input_gets_one_line_and_status_2(arguments, words):
    result = albench(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "spans", "tracks"),
    [
        (["--method", "al", "--engine", "serial"], 12, 1),
        (["--method", "al", "--engine", "threads", "--lanes", "9"], 12, 2),
        (["--method", "al", "--engine", "threads", "--lanes", "2", "--minibatches", "1"], 2, 2),
        (["--method", "al", "--engine", "ranks", "--lanes", "2"], 12, 2),
        (["--method", "al", "--engine", "fused", "--lanes", "1"], None, 1),
        (["--method", "bp"], 6, 1),
    ],
    ids=str,
)
def test_a_run_becomes_a_trace_and_a_chart(arguments, spans, tracks, tmp_path):
    arguments = [*arguments, *SMALL, "--hidden-layers", 4, "--out", tmp_path]
    result = albench(*arguments, *([] if "--minibatches" in arguments else ["--minibatches", 6]))
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json", "gantt.svg", "gantt.png"}
    events = [e for e in json.loads((tmp_path / "trace.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert spans is None or len(events) == spans, "without the warm-up's"
    assert len({(event["pid"], event["tid"]) for event in events}) == tracks
    assert "Bubble" in result.stdout
    assert ("9 lanes asked for, 2 used" in result.stdout) == ("9" in arguments)


@pytest.mark.parametrize("engine", ["threads", "ranks"])
def test_ctrl_c_ends_a_run_in_one_line_and_leaves_no_file_and_no_process(engine, tmp_path, monkeypatch):
    def interrupted(trainer, batches, device):
        def source():
            yield from itertools.islice(batches, 3)
            raise KeyboardInterrupt

        trainer.train(source())

    monkeypatch.setattr("albench.harness.tracing.time_training", interrupted)
    result = albench("--method", "al", "--engine", engine, "--lanes", 2, *SMALL, "--out", tmp_path / "out")
    assert result.exit_code == 130, result.output
    assert result.stderr.strip().splitlines() == ["albench: interrupted; nothing was written"]
    assert list((tmp_path / "out").iterdir()) == []
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("albench-rank")]
