"""`albench trace` as a user meets it: real runs become files that viewers open, and bad input becomes one line."""

import itertools
import json
import multiprocessing
import time

import pytest
from typer.testing import CliRunner

from albench.cli import app
from albench.harness.records import RecordFile
from albench.harness.scenario import Scenario
from tests.report import made_up

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
        (["depth", "0123", "--width", "16"], "--width is given with depth"),
        (["depth", "0123", "--seed", "0"], "--seed is given with depth"),
        (["--method", "alx"], "did you mean 'al'"),
        (["--method", "al", "--engine", "thread"], "did you mean 'threads'"),
        (["--method", "al", "--lanes", "0"], "lanes is 0"),
        (["--method", "al", "--minibatches", "0"], "minibatches is 0"),
        (["--method", "al", "--hidden-layers", "3"], "hidden layers is 3"),
        (["--method", "ddp", "--lanes", "2"], "cannot be traced: what can be is AL on serial"),
        (["--method", "al", "--out", "/proc/albench"], "cannot be written"),
        (["--method", "al", "--limit", "0"], "limit is 0: give seconds above 0"),
        ([300 * "x", "0123"], "cannot be read (File name too long)"),
        (["--method", "al", "--out", 300 * "x"], "cannot be written (File name too long)"),
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
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json", "gantt.svg", "gantt.png", "spans.json"}
    events = [e for e in json.loads((tmp_path / "trace.json").read_text())["traceEvents"] if e["ph"] == "X"]
    assert spans is None or len(events) == spans, "without the warm-up's"
    assert len({(event["pid"], event["tid"]) for event in events}) == tracks
    assert "Bubble" in result.stdout
    assert ("9 lanes asked for, 2 used" in result.stdout) == ("9" in arguments)


def test_a_case_of_records_is_traced_beside_them_and_stands_on_their_page(tmp_path):
    scenario = Scenario(
        method="al", engine="threads", lanes=2, hidden_layers=4, width=16, batch_size=8, minibatches=4
    )  # fmt: skip
    with RecordFile(tmp_path) as file:
        file.append(made_up.record(scenario, seconds=0.01))
    result = albench(tmp_path, scenario.key[:10])
    assert result.exit_code == 0, result.output
    assert f"On the page with: albench report {tmp_path}" in result.stdout
    assert (tmp_path / "traces" / f"al-threads-{scenario.key}" / "spans.json").exists()
    (tmp_path / "traces" / "cut").mkdir()
    (tmp_path / "traces" / "cut" / "spans.json").write_text('{"format":"albench-trace"')
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "cut/spans.json is no trace of albench" in result.stderr
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Bubble (share of the lanes" in page
    assert page.count("<img") == 1
    assert (tmp_path / "figures" / "trace-1.svg").exists()


@pytest.mark.parametrize("engine", ["threads", "ranks"])
def test_a_case_that_hangs_ends_in_one_line_and_leaves_no_file_and_no_process(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("albench.harness.tracing.time_training", lambda *_: time.sleep(200))
    out = tmp_path / "out"
    result = albench("--method", "al", "--engine", engine, "--lanes", 2, *SMALL, "--limit", 3, "--out", out)
    assert result.exit_code == 2, result.output
    assert result.stderr.strip() == (
        "albench: not done after its limit of 3 s: give more with --limit, or trace fewer --minibatches"
    )
    assert list(out.iterdir()) == []
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("albench-rank")]


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
