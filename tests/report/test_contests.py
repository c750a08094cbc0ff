"""Contests from made-up records: who wins is said with its interval, and nothing else is claimed."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from albench.analysis.baselines import outcome, speed
from albench.report import find, headline, render, terminal_tables
from albench.report.answers import answers
from albench.report.contest_tables import CSV_COLUMNS, contests_csv, grid_tables, standings_table
from albench.report.contest_words import contest_answer, contest_headline, contest_sentence, fairness_sentence
from albench.report.contests import Contest, grids_of
from albench.report.summary import summary_tables

from . import contest_records as made
from . import made_up
from .conftest import COMMAND, HOSTILE
from .test_page import Outline, plain


def one_contest(records) -> Contest:
    (contest,) = find(records).contests
    return contest


def test_the_answer_names_the_best_of_each_side_with_intervals() -> None:
    contest = one_contest(made.contest())
    sentence = contest_sentence(contest)
    assert "At equal depth: AL threads, 2 lanes trains 1.4" in sentence
    assert "] as many samples a second as the best pipeline baseline (GPipe, 2 lanes, M = 4)" in sentence
    assert "BP, 2 threads is 1.18× [" in sentence or "BP, 2 threads is 1.17× [" in sentence
    assert "DDP, 2 lanes is slower than AL, 0.9" in sentence
    assert contest_answer(contest).word == "AL is faster than the best pipeline, but not than BP"
    assert contest_answer(contest).tone == "part"


@pytest.mark.parametrize(
    ("al", "word", "tone"),
    [
        (60.0, "AL is faster than the best pipeline, and than BP", "good"),
        (100.0, "AL is faster than the best pipeline, but not than BP", "part"),
        (170.0, "AL is slower than the best pipeline, and than BP", "bad"),
        (140.5, "AL and the best pipeline: no certain difference", "open"),
    ],
)
def test_losses_are_said_as_plainly_as_wins(al: float, word: str, tone: str) -> None:
    times = made.only("bp", "gpipe") | {("al", "threads", 2, 1, 1): al}
    answer = contest_answer(one_contest(made.contest(times)))
    assert (answer.word, answer.tone) == (word, tone)
    sentence = answer.sentences[0]
    assert ("trains only 0.8" in sentence) == (tone == "bad")
    assert ("no difference is certain" in sentence) == (tone == "open")


def test_a_single_round_claims_nothing() -> None:
    contest = one_contest(made.contest(rounds=1))
    sentence = contest_sentence(contest)
    assert sentence.count("one round cannot tell a difference between") == 3
    assert "nan" not in sentence
    table = standings_table(contest)
    assert table is not None
    assert {cell.tone for row in table.rows for cell in row.cells} == {"", "open"}


def test_standings_are_sorted_and_hold_winners_and_losers() -> None:
    contest = one_contest(made.contest())
    names = [one.name for one in contest.standings]
    assert names[0] == "BP, 2 threads"
    assert names[-1] == "GPipe, 2 lanes, M = 1"
    assert len(names) == len(made.MILLISECONDS)
    table = standings_table(contest)
    assert table is not None
    marks = {row.cells[0].text: row.cells[0].detail for row in table.rows if row.cells[0].detail}
    assert marks == {
        "BP, 2 threads": "(best BP)",
        "AL threads, 2 lanes": "(best AL)",
        "GPipe, 2 lanes, M = 4": "(best pipeline)",
        "DDP, 2 lanes": "(best data-parallel)",
    }
    cells = {row.cells[0].text: [cell.text for cell in row.cells] for row in table.rows}
    assert cells["GPipe, 2 lanes, M = 4"][1:3] == ["2", "4"]
    assert cells["BP, 2 threads"][2] == "–", "BP cuts nothing"
    assert cells["GPipe, 2 lanes, M = 4"][6] == "1×"
    assert table.columns[5:7] == ("times as fast as BP, 2 threads", "times as fast as GPipe, 2 lanes, M = 4")
    assert plain(cells["AL serial"][7]) == "8 388 608 + 5 000 000"
    assert cells["AL serial"][8] == "11.0"
    assert cells["AL + DDP, 2 replicas"][1] == "2"


def test_the_grid_is_relative_to_bp_on_one_lane_with_the_share_of_the_ideal() -> None:
    contest = one_contest([*made.contest(), made_up.record(made.scenario(("gpipe", "ranks", 2, 32, 1)), reason="hung")])
    tables = {table.caption.split(" over ")[0]: table for table in grid_tables(contest)}
    assert list(tables) == ["GPipe", "1F1B", "Interleaved 1F1B", "Zero bubble"]
    gpipe = tables["GPipe"]
    assert gpipe.columns == ("lanes", "M = 1", "M = 4", "M = 8", "M = 32")
    (row,) = gpipe.rows
    assert row.cells[0].text == "2"
    assert row.cells[2].text.startswith("1.0")  # 150 ms against 140 ms
    assert row.cells[2].detail.endswith("67 % of 1.60×")
    assert (row.cells[4].text, row.cells[4].tone) == ("failed", "bad")
    assert "K·M / (M + K - 1)" in gpipe.note
    assert "equally long" in tables["Zero bubble"].note


def test_without_bp_on_one_lane_there_is_no_grid_and_the_page_says_so(tmp_path: Path) -> None:
    times = {key: value for key, value in made.MILLISECONDS.items() if key[:3] != ("bp", "eager", 1)}
    records = made.contest(times)
    assert grid_tables(one_contest(records)) == []
    outline = Outline(render(records, tmp_path, command=COMMAND).read_text(encoding="utf-8"))
    assert "BP on one lane was not measured" in outline.text
    assert outline.faults == []


def test_all_pipelines_failed_is_a_result_too(tmp_path: Path) -> None:
    records = [*made.contest(made.only("al", "bp")), *made.failures(HOSTILE, status="failed")]
    contest = one_contest(records)
    assert "no pipeline baseline could be measured, all that were tried failed" in contest_sentence(contest)
    assert contest_answer(contest).word == "No answer: no pipeline was measured"
    assert len(contest.failures) == 6
    assert find(records).other_failures == [], "listed once, with the standings"
    assert [table.caption.split(",")[0] for table in summary_tables(find(records))].count("Not measured") == 1
    assert all(cell.text == "failed" for table in grid_tables(contest) for row in table.rows for cell in row.cells[1:])
    page = render(records, tmp_path, command=COMMAND).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    outline = Outline(page)
    assert outline.faults == []
    assert plain(HOSTILE) in outline.text
    markdown = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    with (tmp_path / "baselines.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["reason"] for row in csv.DictReader(stream) if row["status"] == "failed"] == [HOSTILE] * 6


def test_nothing_but_failures_is_said() -> None:
    found = find(made.failures())
    assert headline(found) == "At equal depth nothing could be measured: all 6 cases failed."
    assert standings_table(found.contests[0]) is None
    assert grids_of(found.contests[0])


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("gpipe", "AL was not measured; GPipe, 2 lanes, M = 4 trains most"),
        ("zero-bubble", "AL was not measured; Zero bubble, 2 lanes, M = 4 trains most"),
    ],
)
def test_a_single_contender_has_no_rival(method: str, says: str, tmp_path: Path) -> None:
    records = made.contest(made.only(method))
    assert says in headline(find(records))
    outline = Outline(render(records, tmp_path, command=COMMAND).read_text(encoding="utf-8"))
    assert outline.faults == []
    assert says in outline.text
    assert "nan" not in outline.text.lower().split()


def test_al_and_bp_alone_are_no_contest() -> None:
    assert find(made.contest(made.only("al", "bp"))).contests == ()
    assert find(made.contest(made.only("al", "bp", "ddp"))).contests == ()
    assert len(find(made.contest(made.only("al", "bp", "ddp", "al-ddp"))).contests) == 1


def test_only_equal_work_meets() -> None:
    records = made.contest()
    records += made.contest(minibatches=48) + made.contest(bridge_width=5120) + made.contest(width=512)
    found = find(records).contests
    assert len(found) == 4
    assert len({contest.title for contest in found}) == 4
    assert all(len(contest.standings) == len(made.MILLISECONDS) for contest in found)


def test_cuda_and_cpu_do_not_meet() -> None:
    records = made.contest(made.only("gpipe", "bp")) + made.contest(made.only("gpipe", "al"), device="cuda")
    assert [contest.work.device for contest in find(records).contests] == ["cpu", "cuda"]


def test_fairness_is_named_with_every_number_and_checked_on_the_parameters() -> None:
    deep, fair = find(made.contest() + made.contest(bridge_width=5120)).contests
    assert (deep.fairness, fair.fairness) == ("equal depth", "equal effective parameters")
    assert "all predict with the same" in fairness_sentence(deep)
    assert "hidden layer of 5120 units" in fairness_sentence(fair)
    assert "gives it 9 hidden layers" in fairness_sentence(fair)
    for contest in (deep, fair):
        table = standings_table(contest)
        assert table is not None
        assert contest.fairness in table.caption
        assert contest_sentence(contest).startswith(f"At {contest.fairness}")
        assert contest.fairness in contest_answer(contest).title
    odd = [
        made_up.record(one.scenario, seconds=one.seconds, effective_parameters=9)
        for one in made.contest(made.only("gpipe"))
    ]
    unequal = one_contest([*made.contest(made.only("al")), *odd])
    assert "parameters that differ by" in fairness_sentence(unequal)


def test_many_contests_are_counted_in_the_headline() -> None:
    records = made.contest() + made.contest(width=512) + made.contest(minibatches=48)
    slow = made.only("gpipe") | {("al", "threads", 2, 1, 1): 400.0}
    records += made.contest(slow, width=128)
    line = contest_headline(find(records).contests)
    assert line == "Against the best pipeline baseline, in 4 contests, AL is faster in 3 and slower in 1."


def test_fewer_than_six_rounds_say_what_their_interval_is_worth() -> None:
    assert "as few as 2 rounds" in contest_sentence(one_contest(made.contest(rounds=2)))
    assert "50 %, not 95 %, confidence" in contest_sentence(one_contest(made.contest(rounds=2)))
    assert "confidence" not in contest_sentence(one_contest(made.contest(rounds=6)))
    table = standings_table(one_contest(made.contest(rounds=2)))
    assert table is not None
    assert "an interval of 50 %" in table.note
    table = standings_table(one_contest(made.contest(rounds=6)))
    assert table is not None
    assert "an interval of" not in table.note


def test_a_contest_of_one_point_does_not_drown_in_undecided_verdicts(tmp_path: Path) -> None:
    records = made.contest() + made.contest(bridge_width=5120)
    found = find(records)
    assert found.sweeps == ()
    assert answers(found) == []
    outline = Outline(render(records, tmp_path, command=COMMAND).read_text(encoding="utf-8"))
    assert outline.faults == []
    assert "Only 1 depth measured" not in outline.text
    assert "Verdicts," not in outline.text
    images = [attributes["alt"] for tag, attributes in outline.tags if tag == "img"]
    told = ["Training instances a second", "Times as fast as on one lane"]
    assert [alt.partition(":")[0] for alt in images] == told * 2
    assert "Who trains a network fastest on the same lanes?" in outline.text
    assert "product share" not in outline.text
    assert plain(contest_sentence(found.contests[0])) in outline.text
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == {
        "standings-1",
        "standings-2",
        "1-width-1024-batch-256-speed-up-against-lanes",
        "2-width-1024-batch-256-speed-up-against-lanes",
    }


def test_a_sweep_beside_a_contest_keeps_its_verdicts(tmp_path: Path) -> None:
    laws = {("al", "fused", 1): made_up.pipeline(0.4, 0.001, 0.1), ("bp", "eager", 1): made_up.product(0.2, 0.1)}
    sweep = made_up.sweep(laws, width=1024, batch_size=256, lengths=(12, 24, 48))
    found = find(sweep + made.contest())
    (regime,) = found.sweeps
    assert headline(found).startswith("Yes, with AL fused")
    assert {series.name for series in regime.swept if not series.projected} >= {"AL fused", "BP, 1 thread"}
    outline = Outline(render(sweep + made.contest(), tmp_path, command=COMMAND).read_text(encoding="utf-8"))
    assert outline.faults == []
    assert "Measured at one point only, and so not judged: " in outline.text
    assert "Only 1 depth measured" not in outline.text


def test_page_markdown_terminal_and_spreadsheet_say_the_same(tmp_path: Path) -> None:
    records = [*made.contest(), made_up.record(made.scenario(("gpipe", "ranks", 2, 32, 1)), reason="hung")]
    found = find(records)
    (contest,) = found.contests
    outline = Outline(render(records, tmp_path, command=COMMAND).read_text(encoding="utf-8"))
    console = Console(width=400, color_system=None)
    with console.capture() as capture:
        for table in terminal_tables(found):
            console.print(table)
    printed = plain(capture.get())
    tables = [table for table in summary_tables(found) if contest.title in table.caption]
    assert len(tables) == 1 + 4 + 1
    for table in tables:
        for row in table.rows:
            for cell in row.cells:
                assert plain(cell.text) in outline.text
                assert plain(cell.text) in printed
                assert plain(cell.detail) in outline.text
    rows = list(csv.DictReader(io.StringIO(contests_csv(found.contests))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["contender"] for row in rows if row["status"] == "measured"] == [one.name for one in contest.standings]
    assert rows[-1]["reason"] == "hung"
    pipeline = contest.best("pipeline")
    assert pipeline is not None
    for row, one in zip(rows, contest.standings, strict=False):
        assert float(row["speed_against_best_pipeline"]) == speed(one, pipeline).estimate
        assert row["fairness"] == "equal depth"
        assert (float(row["speed_against_best_pipeline_low"]) > 1) == (outcome(speed(one, pipeline)) == "faster")
    assert (tmp_path / "baselines.csv").read_text(encoding="utf-8") == contests_csv(found.contests)
