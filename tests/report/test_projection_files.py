"""What a projection prints and writes: never a projected number without the word."""

import csv

import pytest
from typer.testing import CliRunner

from albench.cli import app
from albench.errors import UsageError
from albench.harness.scenario import Scenario
from albench.report.projection_figures import LOOKS, projection_drawings
from albench.report.projection_files import render_projection, with_link
from albench.report.projection_tables import (
    check_table,
    missing_words,
    projection_csv,
    signed_percent,
    speed_table,
)
from albench.report.projections import ProjectionOptions, projections_of

from . import contest_records, made_up


def records():
    """A contest of eight hidden layers on two lanes, and what AL's tasks take."""
    found = contest_records.contest()
    return [
        made_up.record(
            one.scenario,
            seconds=one.seconds,
            round=one.round,
            lanes=one.lanes,
            task_seconds=[0.03, 0.05, 0.05, 0.05] if one.scenario.engine == "serial" else None,
        )
        for one in found
    ]


@pytest.fixture(scope="module")
def projection():
    (one,) = projections_of(records(), ProjectionOptions())
    return one


def test_the_table_has_a_row_a_number_of_lanes_and_says_where_methods_stop(projection):
    table = speed_table(projection)
    assert table.caption.startswith("Projected, not measured: times as fast as BP, 1 thread on one lane, ℓ = 8")
    assert table.columns == ("lanes", "AL", "GPipe", "1F1B", "Interleaved 1F1B")
    assert all(row.projected for row in table.rows)
    assert [row.cells[0].text for row in table.rows] == ["1", "2", "4", "8", "9"], "to the most that anybody can use"
    assert table.rows[3].cells[1].detail == "(on 4)"
    assert "AL stops at 4 lanes: 4 components." in table.note
    assert missing_words(projection)[0].startswith("Not projected: Zero bubble: its schedule runs the two parts")


def test_a_bound_is_written_as_one():
    (one,) = projections_of(contest_records.contest(contest_records.only("bp")), ProjectionOptions())
    table = speed_table(one)
    assert table.columns[1] == "GPipe"
    assert table.rows[1].cells[1].text.startswith("≤ ")
    assert "≤: no more, for small" in table.note


def test_errors_stand_beside_what_was_measured(projection):
    table = check_table(projection)
    names = [row.cells[0].text for row in table.rows]
    assert names[:2] == ["AL serial", "AL threads, 2 lanes"]
    assert "GPipe, 2 lanes, M = 4" in names
    for row, check in zip(table.rows, projection.checks, strict=True):
        assert row.cells[5].text == signed_percent(check.error)
    assert "Projections are off by: AL " in table.note
    assert signed_percent(-0.004) == "0 %"
    assert signed_percent(-0.123) == "\N{MINUS SIGN}12 %"


def test_the_csv_keeps_projected_and_measured_apart(projection):
    rows = list(csv.DictReader(projection_csv([projection]).splitlines()))
    assert {row["kind"] for row in rows} == {"projected", "measured"}
    for row in rows:
        measured = row["kind"] == "measured"
        assert bool(row["error_percent"]) == bool(row["engine"]) == measured
        assert bool(row["bubble_share"]) == (not measured)
    (four,) = [row for row in rows if (row["kind"], row["method"], row["lanes"]) == ("projected", "al", "4")]
    assert float(four["samples_per_second"]) == pytest.approx(256 / float(four["milliseconds_per_minibatch"]) * 1e3)


def test_what_is_projected_is_dashed_and_hollow():
    for look in LOOKS.values():
        assert look.line["linestyle"] != "solid"
        assert look.marks["markerfacecolor"] == "white"


def test_figures_say_what_they_are_and_are_the_same_each_time(projection):
    speed, check = projection_drawings([projection])
    assert (speed.name, check.name) == ("projection-1", "projection-1-check")
    assert speed.title.startswith("Projected speed")
    assert speed.alt.startswith("Projected, times as fast as BP, 1 thread on one lane: AL ")
    assert "Dashed and hollow is projected" in speed.reading
    assert "accuracy" in speed.limits
    assert check.alt.startswith("Projections are off by: AL ")
    assert projection_drawings([projection]) == [speed, check]


def test_pipelines_are_explained_only_where_they_are_drawn(projection):
    """A network of feature maps is not cut into stages: no M is chosen there."""
    shared = {"hidden_layers": 8, "width": 32, "batch_size": 16, "minibatches": 20, "network": "cnn"}
    al = Scenario(method="al", engine="serial", **shared)
    both = [
        made_up.record(al, seconds=0.1, task_seconds=[1e-3] * 4),
        made_up.record(Scenario(method="bp", engine="eager", **shared), seconds=0.1),
    ]
    for alone in (both, both[:1]):
        (one,) = projections_of(alone, ProjectionOptions())
        speed = projection_drawings([one])[0]
        assert "pipeline" not in speed.reading + speed.limits + speed_table(one).note
        assert ("as fast as BP on one" in speed.reading) == (alone is both)
    speed = projection_drawings([projection])[0]
    assert "A pipeline of BP shows its best M" in speed.reading
    assert "larger mini-batches" in speed.limits
    assert "a pipeline's M" in speed_table(projection).note


def test_files_are_written_and_markdown_lists_what_is_taken_for_granted(tmp_path):
    render_projection(records(), tmp_path, ProjectionOptions(), command="albench project `x`")
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert names == [
        "figures/projection-1-check.png",
        "figures/projection-1-check.svg",
        "figures/projection-1.png",
        "figures/projection-1.svg",
        "projection.csv",
        "projection.md",
    ]
    text = (tmp_path / "projection.md").read_text(encoding="utf-8")
    assert text.startswith("# Projected, not measured\n")
    assert "](figures/projection-1.svg)" in text
    assert "What this takes for granted:\n\n- A lane is a CPU core" in text
    assert "\n- Not projected: Zero bubble: " in text
    assert "albench project `x`" in text


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written into .*--out"):
        render_projection(records(), tmp_path / "file", ProjectionOptions(), command="x")


def test_a_link_is_given_or_measured_and_not_both():
    asked = with_link(ProjectionOptions(), None, "5us", "25")
    assert (asked.link.latency_seconds, asked.link.bytes_per_second) == (pytest.approx(5e-6), 25e9)
    assert with_link(ProjectionOptions(), None, None, None).link.is_free
    for link, latency in (("measured", "5us"), ("fast", None)):
        with pytest.raises(UsageError, match=f"link is '{link}': give 'measured'"):
            with_link(ProjectionOptions(), link, latency, None)


@pytest.fixture
def directory(tmp_path):
    from albench.harness.records import RecordFile

    with RecordFile(tmp_path) as file:
        for one in records():
            file.append(one)
    return tmp_path


def test_the_command_prints_tables_errors_and_assumptions(directory):
    result = CliRunner().invoke(app, ["project", str(directory), "--lanes", "1,2,4", "--components", "16"])
    assert result.exit_code == 0, result.output
    assert "deeper than measured" in result.output
    assert "What this takes for granted" in result.output
    assert "Not projected: Zero bubble: " in result.output
    assert "Projections are off by" in result.output
    assert (directory / "projection.md").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lanes", "0"], "lanes is 0"),
        (["--lanes", "2,x"], "'2,x'"),
        (["--link-latency", "5 parsecs"], "link latency is '5 parsecs'"),
        (["--link-latency=-5us"], "link latency is '-5us'"),
        (["--link-bandwidth", "0"], "link bandwidth is 0"),
        (["--link", "fast"], "link is 'fast'"),
        (["--hidden-layers", "6"], "give 8, or"),
        (["--components", "1"], "components is 1"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(directory, arguments, words):
    result = CliRunner().invoke(app, ["project", str(directory), *arguments])
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
