"""Reproduction page: the paper's digits, ours beside them, partial runs marked, and all outputs from one table."""

import csv
import dataclasses
import io
import re

import pytest

from albench.analysis.time_to_accuracy import CurvePoint
from albench.report.drawing import Drawing
from albench.report.reproduction import (
    Reproduction,
    comparison_table,
    curve_drawings,
    headline,
    learning_curves,
    reproduction_csv,
    reproduction_html,
    reproduction_markdown,
    run_table,
    terminal_tables,
    write_reproduction,
)
from albench.reproduction.comparison import Reached, compare
from albench.reproduction.plan import planned_runs

from .conftest import HOSTILE


def made(target, values_of, *, epochs=200, changes=(), seeds=(0, 1, 2), leave_out=(), **filters):
    plans = planned_runs(target, seeds=seeds, **filters)
    runs = [
        Reached(
            plan=plan,
            epochs=epochs,
            planned_epochs=200,
            recipe_epochs=200,
            seconds=12.5,
            machine="A processor, torch 2.15",
            changes=tuple(changes),
            values=values_of(plan),
        )
        for plan in plans
        if plan.method not in leave_out
    ]
    return Reproduction(target=target, rows=compare(target, plans, runs), plans=plans, reached=tuple(runs))


def accuracies(plan):
    return {("test accuracy", None): 0.98 + 0.001 * plan.seed}


CURVE = (CurvePoint(60_000, 10.0, 0.9), CurvePoint(120_000, 20.0, 0.96))


def test_runs_have_their_learning_curves_on_the_page_seeds_together():
    """Who is first at an accuracy stands beside the accuracies; logs that never looked at any have no curve."""
    found = made("table2", accuracies, networks=("mlp",))
    assert learning_curves(found) == []
    pace = {"bp": 1.0, "al": 0.5, "dtp": 3.0}

    def clocked(run):
        curve = [one._replace(seconds=one.seconds * (pace[run.plan.method] + run.plan.seed / 10)) for one in CURVE]
        return dataclasses.replace(run, learning_curve=tuple(curve))

    found = dataclasses.replace(found, reached=tuple(map(clocked, found.reached)))
    (curves,) = learning_curves(found)
    assert [(one.name, len(one.runs)) for one in curves.curves] == [("BP", 3), ("AL", 3), ("DTP", 3)]
    (drawing,) = curve_drawings(found)
    found = dataclasses.replace(found, drawings=(drawing,))
    page, text = reproduction_html(found, command="x"), reproduction_markdown(found, command="x")
    for printed in (page, text):
        assert "MLP on MNIST, 95 % held out: AL after 12.0 s; BP after 22.0 s; AL is 1.8× as fast there" in printed
        assert "Seconds of training until so much held out is predicted, MLP on MNIST" in printed
    assert drawing.source in page


def test_depths_are_contenders_of_their_own():
    found = made("table6", accuracies, components=(1, 3), seeds=(0,))
    found = dataclasses.replace(
        found, reached=tuple(dataclasses.replace(run, learning_curve=CURVE) for run in found.reached)
    )
    (curves,) = learning_curves(found)
    assert [one.name for one in curves.curves] == ["AL, 1 component layer", "AL, 3 component layers"]


def texts(table):
    return [[cell.plain for cell in row.cells] for row in table.rows]


def test_accuracies_stand_beside_the_paper_s_with_its_digits():
    found = made("table2", accuracies, leave_out=("dtp",))
    assert texts(comparison_table(found)) == [
        ["MLP, BP", "98.5 ± 0.0", "98.10 ± 0.10", "-0.40", "3", "–"],
        ["MLP, AL", "98.6 ± 0.0", "98.10 ± 0.10", "-0.50", "3", "–"],
        ["MLP, DTP", "96.43 ± 0.04", "–", "–", "0", "–"],
        ["vanilla CNN, BP", "99.4 ± 0.0", "98.10 ± 0.10", "-1.30", "3", "–"],
        ["vanilla CNN, AL", "99.5 ± 0.0", "98.10 ± 0.10", "-1.40", "3", "–"],
    ]
    assert headline(found) == "Of the paper's 5 numbers 4 are there, all by the whole recipe."
    assert "The setting of DTP in the paper is not published" in comparison_table(found).note


def test_partial_runs_are_marked_in_every_output():
    found = made("table2", accuracies, epochs=3, changes=["batch size 256, not 32"], seeds=[0], networks=["mlp"])
    remark = "3 of 200 epochs; 1 seed; batch size 256, not 32"
    assert {row[-1] for row in texts(comparison_table(found))} == {remark}
    assert headline(found).endswith("Of the paper's 5 numbers 3 are there, 0 of them by the whole recipe.")
    assert remark in reproduction_markdown(found, command="x")
    assert remark in reproduction_html(found, command="x")
    assert remark in reproduction_csv(found)
    assert run_table(found).note.count("Trained on A processor, torch 2.15.") == 1
    assert texts(run_table(found))[0] == ["mnist-mlp-bp-seed-0", "begun", "3 of 200", "12.5"]


def test_losses_of_table_5_are_powers_of_ten():
    def losses(plan):
        return {("associated loss", layer): 10.0 ** -(4 + 2 * layer) for layer in (1, 2, 3)}

    table = texts(comparison_table(made("table5", losses, seeds=[0])))
    assert [row[:3] for row in table][3:] == [
        ["3 component layers, layer 1", "1.2219 × 10⁻⁵", "1.0000 × 10⁻⁶"],
        ["3 component layers, layer 2", "3.8033 × 10⁻⁷", "1.0000 × 10⁻⁸"],
        ["3 component layers, layer 3", "6.7192 × 10⁻¹⁰", "1.0000 × 10⁻¹⁰"],
    ]


def test_depths_beyond_the_paper_have_no_number_of_its_own():
    def values(plan):
        return {("training accuracy", None): 1.0, ("test accuracy", None): 0.9712}

    table = texts(comparison_table(made("table6", values, seeds=[0])))
    assert table[1][:4] == ["1 component layer, test accuracy", "0.9849", "0.9712", "-0.0137"]
    assert table[-1][:4] == ["32 component layers, test accuracy", "–", "0.9712", "–"]


def test_distances_name_their_data_set():
    def values(plan):
        return {("inter-class distance", None): 0.8, ("intra-class distance", None): 0.5, ("ratio", None): 1.6}

    table = texts(comparison_table(made("table7", values, seeds=[0])))
    assert table[5][:4] == ["CIFAR-10, MLP, AL, ratio", "1.11", "1.60", "+0.49"]


def test_comma_separated_values_are_numbers_in_the_table_s_unit():
    rows = list(csv.DictReader(io.StringIO(reproduction_csv(made("table2", accuracies, leave_out=("dtp",))))))
    assert rows[0]["unit"] == "%"
    assert float(rows[0]["here"]) == pytest.approx(98.1)
    assert float(rows[0]["difference"]) == pytest.approx(-0.4)
    assert (rows[0]["paper_deviation"], rows[0]["seeds"]) == ("0.0", "0 1 2")
    assert (rows[2]["method"], rows[2]["here"], rows[2]["remarks"]) == ("dtp", "", "")


def test_what_is_not_there_is_said():
    none = Reproduction(target="table2", rows=(), plans=planned_runs("table2", seeds=[0]), reached=())
    assert "Not begun: mnist-mlp-bp-seed-0" in reproduction_markdown(none, command="x")
    assert {row[1] for row in texts(run_table(none))} == {"not begun"}
    empty = made("table2", accuracies, leave_out=("al", "bp", "dtp"))
    assert headline(empty) == "None of the paper's 5 numbers is there yet."
    text = reproduction_markdown(made("table3", accuracies, leave_out=("al", "bp", "dtp"), seeds=[0]), command="x")
    assert "and 7 more." in text


DRAWING = Drawing(
    name="figure5", title="Figure 5", alt=f"marks {HOSTILE}", reading="Read it so.", limits="It does not show all.",
    work=None, svg=b"<svg/>", png=b"png", width=10, height=10,
)  # fmt: skip


def test_everything_written_is_escaped_and_lies_where_the_page_says(tmp_path):
    found = made("figure5", lambda plan: {}, epochs=3, changes=[f"dataset {HOSTILE}, not cifar10"])
    found = Reproduction(**vars(found) | {"drawings": (DRAWING,)})
    page = write_reproduction(found, tmp_path, command=f"albench reproduce figure5 {HOSTILE}")
    names = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert names == ["figures/figure5.png", "figures/figure5.svg", "index.html", "summary.md"]
    html = page.read_text(encoding="utf-8")
    assert "<script>alert" not in html
    assert "The figure is drawn: 2 of 2 runs begun." in html
    assert "cifar10-mlp-bp-seed-0: 3 of 200 epochs; dataset" in html
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "<script>alert" not in text.split("## Reproduce")[0]
    assert "summary.csv" not in html


def test_sentences_among_numbers_are_broken_into_lines(tmp_path):
    """What a run was less or other than its recipe was one line, cut where the page ends."""
    found = made("table2", accuracies, epochs=3, changes=["batch size 128, not 32", "learning rate 0.0005, not 0.0001"])
    html = write_reproduction(found, tmp_path, command="albench").read_text(encoding="utf-8")
    cells = re.findall(r"<td[^>]*?(?: class=\"(\w+)\")?>([^<]*)", html)
    assert {kind for kind, text in cells if len(text) > 60} == {"words"}
    assert {kind for kind, text in cells if len(text) > 2 and text[0].isdigit() and len(text) < 20} == {""}


def test_a_table_writes_its_numbers_and_a_terminal_shows_them(tmp_path):
    found = made("table2", accuracies)
    write_reproduction(found, tmp_path, command="albench reproduce table2")
    assert (tmp_path / "summary.csv").read_text(encoding="utf-8") == reproduction_csv(found)
    assert [table.row_count for table in terminal_tables(found)] == [5, 15]
