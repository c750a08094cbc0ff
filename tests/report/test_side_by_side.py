"""Two runs on one page: what differs around them first, and no change claimed that the comparison does not claim."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from albench.cli import app
from albench.errors import UsageError
from albench.harness.records import Record
from albench.report import pair_terminal_tables, side_by_side, write_pair
from albench.report.pair_page import pair_markdown
from albench.report.side_by_side import (
    SideBySide,
    accuracies_beside,
    mean_words,
    pair_headline,
    times_beside,
    verdicts_beside,
)
from tests.harness.test_run_pair import write

from . import made_up
from .conftest import COMMAND, HOSTILE, pair_of
from .test_page import Outline, plain

SIX = made_up.sweep({("bp", "eager", 1): made_up.product(0.2, 0.05)}, width=8, batch_size=4, depths=(2,), rounds=6)


@pytest.fixture(scope="module")
def both() -> SideBySide:
    return pair_of()


@pytest.fixture(scope="module")
def outline(both: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> Outline:
    page = write_pair(both, tmp_path_factory.mktemp("pair"), command=COMMAND)
    return Outline(page.read_text(encoding="utf-8"))


def pair(before: list[Record], after: list[Record]) -> SideBySide:
    return side_by_side(("a", before, ()), ("b", after, ()))


def slower(records: list[Record], factor: float, **environment: object) -> list[Record]:
    return [
        made_up.record(
            one.scenario,
            seconds=factor * (one.seconds or 0.0),
            round=one.round,
            environment=made_up.ENVIRONMENT | environment,
        )
        for one in records
    ]


def test_it_is_well_formed_and_says_what_differs_before_it_says_anything_else(outline: Outline) -> None:
    assert outline.faults == []
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    order = [
        outline.text.index(words)
        for words in ("Not the same in A and B", "Verdicts side by side", "Time in B over time in A")
    ]
    assert order == sorted(order)


def test_hostile_names_are_shown_and_not_run(outline: Outline, both: SideBySide, tmp_path: Path) -> None:
    for words in ("runs/α <a>", "runs/β|b", "<b>new</b>", plain(HOSTILE), COMMAND):
        assert words in outline.text
    assert [tag for tag, _ in outline.tags].count("script") == 1
    written = (write_pair(both, tmp_path, command=COMMAND).parent / "summary.md").read_text(encoding="utf-8")
    assert "<script>" not in written
    assert "runs/β\\|b" in written
    assert "albench run made-up.toml --out 'runs/α <a>'" in written


def test_a_change_is_claimed_only_where_the_comparison_claims_it() -> None:
    both = pair(SIX, slower(SIX, 1.1))
    assert pair_headline(both) == "Of 3 cases that both timed, B is slower in 3, faster in 0 and as fast in 0."
    few = SIX[: len(SIX) // 2]
    assert pair_headline(pair(few, slower(few, 1.1))).endswith("told of none whether B is faster or slower.")
    assert mean_words(both) == "The geometric mean of B / A is 1.10 [1.10, 1.10]."


@pytest.mark.parametrize(
    "environment", [{"cpu": "Another"}, {"usable_cores": 64}, {"gpus": [{"name": "H100"}]}], ids=lambda e: next(iter(e))
)
def test_another_machine_is_no_change(environment: dict[str, object]) -> None:
    both = pair(SIX, slower(SIX, 2.0, **environment))
    assert pair_headline(both) == (
        "A and B ran on different machines, so the times of the 3 cases that both timed are not a change."
    )
    table = times_beside(both)
    assert table is not None
    assert table.columns == ("case", "A", "B", "B / A")
    assert all(row.cells[3].plain.startswith("2.00") for row in table.rows)
    told = " ".join(cell.plain for row in table.rows for cell in row.cells)
    assert not any(word in told for word in ("slower", "faster", "same", "tell"))


def test_another_driver_or_memory_is_the_same_machine() -> None:
    gpus = [{"name": "H100", "driver": "1"}], [{"name": "H100", "driver": "2"}]
    before, after = slower(SIX, 1.0, gpus=gpus[0]), slower(SIX, 1.1, gpus=gpus[1], memory_bytes=1)
    both = pair(before, after)
    assert both.comparable
    assert [one.field for one in both.pair.surroundings] == ["memory_bytes", "gpus"]


def test_verdicts_and_accuracies_of_both_stand_in_one_row(both: SideBySide) -> None:
    verdicts, accuracies = verdicts_beside(both), accuracies_beside(both)
    assert verdicts is not None
    assert accuracies is not None
    rows = {(row.cells[0].text, row.cells[1].text): [cell.text for cell in row.cells] for row in verdicts.rows}
    fused = rows["AL fused", "width 32, batch 16"]
    assert (fused[2], fused[4]) == ("O(n+ℓ)", "O(n+ℓ)")
    learnt = next(row for row in accuracies.rows if row.cells[0].text == "AL" and row.cells[2].text == "16")
    assert [cell.text for cell in learnt.cells[3:]] == ["83.0 %", "83.0 %", "0.0 points"]


@pytest.mark.parametrize(
    ("suite", "source", "command"),
    [
        ("depth", "runs/a", "albench run depth --out runs/a"),
        ("mine.toml", "runs/a", "albench run mine.toml --out runs/a"),
        ("mine", "runs/a", "albench run mine.toml --out runs/a"),
        ("quick", "runs/a/records.jsonl", "albench run quick --out runs/a"),
        ("tests/test_my.py", "runs/a", "pytest tests/test_my.py --benchmark-only --albench-records runs/a"),
        ("tests/test_my.py", "b.json", "pytest tests/test_my.py --benchmark-only --benchmark-json b.json"),
    ],
    ids=str,
)
def test_the_commands_that_measure_a_run_again_can_be_given(suite: str, source: str, command: str) -> None:
    one = made_up.record(made_up.IDLE, seconds=1.0, suite=suite)
    both = side_by_side((source, [one], ()), ("other", [one], ()))
    again, report = both.before.commands
    assert again == command
    assert report == f"albench report {'--from-benchmark ' if source.endswith('.json') else ''}{source}"
    told = pair_markdown(both, [], command=COMMAND)
    assert ("(mine.toml) is a file: give the command where that lies" in told) == ("mine" in suite)


FAILED = [made_up.failed("boom")]
TRAINED = made_up.trained({"al": {2: 0.9}})
THIN = {
    "B failed": (SIX, FAILED, "Nothing was measured in B (1 scenario failed), so there is nothing to compare."),
    "both failed": (FAILED, FAILED, "Nothing was measured in A (1 scenario failed) and B (1 scenario failed)"),
    "no case in common": (SIX, made_up.sweep(made_up.SMALL, width=16, batch_size=4, rounds=1), "no timed case in"),
    "one point": (SIX[:1], SIX[:1], "Of 1 case that both timed, it can be told of none"),
    "only accuracies": (TRAINED, TRAINED, "no timed case in common (0 cases in A, 0 in B)"),
}


@pytest.mark.parametrize("name", THIN)
def test_thin_runs_make_a_page_too(name: str, tmp_path: Path) -> None:
    before, after, says = THIN[name]
    both = pair(before, after)
    outline = Outline(write_pair(both, tmp_path, command=COMMAND).read_text(encoding="utf-8"))
    assert says in outline.text
    assert outline.faults == []
    assert "nan" not in outline.text.lower().split()
    assert pair_terminal_tables(both) or name in ("both failed", "only accuracies")


def test_a_run_without_a_record_is_refused() -> None:
    with pytest.raises(UsageError, match="b holds no measured record: give the directory of another run for B"):
        pair(SIX, [])


def test_a_large_pair_makes_a_page_of_bounded_size(tmp_path: Path) -> None:
    records = made_up.many(series=2, depths=20, lengths=26, rounds=1)
    page = write_pair(pair(records, records), tmp_path, command=COMMAND)
    assert page.stat().st_size < 1_500_000
    assert "The first 1\N{NARROW NO-BREAK SPACE}000 rows of 1\N{NARROW NO-BREAK SPACE}040 rows" in page.read_text(
        encoding="utf-8"
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "a", SIX)
    write(folder / "b", slower(SIX, 1.1, commit="new"))
    (folder / "empty").mkdir()
    (folder / "void").mkdir()
    (folder / "void" / "records.jsonl").write_text("")
    return folder


def report(*arguments: object) -> object:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_command_line_puts_the_page_beside_b(runs: Path) -> None:
    result = report(runs / "a", runs / "b" / "records.jsonl")
    assert result.exit_code == 0, result.stderr
    assert (runs / "a-beside-b" / "index.html").exists()
    assert (runs / "a-beside-b" / "summary.md").exists()
    assert (runs / "a-beside-b" / "figures" / "ratio-of-times.png").exists()
    assert result.stdout.index("commit") < result.stdout.index("slower")
    assert f"Report: {runs / 'a-beside-b' / 'index.html'}" in result.stdout


BAD = {
    "the same twice": (["a", "a/records.jsonl"], "A and B are both"),
    "nothing there": (["a", "empty"], "does not exist"),
    "no record": (["a", "void"], "holds no measured record"),
    "three": (["a", "b", "a"], "3 runs are given: give one, or two"),
    "a long name": (["a", 300 * "x"], "cannot be read (File name too long)"),
    "a long name first": ([300 * "x", "a"], "cannot be read (File name too long)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_line_and_status_2(runs: Path, name: str) -> None:
    arguments, words = BAD[name]
    result = report(*[runs / argument for argument in arguments])
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("albench: ")
    assert words in line
    assert result.stdout == ""
