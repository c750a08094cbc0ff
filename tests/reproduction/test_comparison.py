"""Comparison: means, deviations and units by hand, and no partial run passes for a whole one."""

import dataclasses

import pytest

from albench.reproduction.comparison import Reached, compare
from albench.reproduction.plan import planned_runs


def reached(plan, epochs=200, changes=(), **values):
    names = {name.replace("_", " "): value for name, value in values.items()}
    return Reached(
        plan=plan,
        epochs=epochs,
        planned_epochs=epochs,
        recipe_epochs=200,
        seconds=1.0,
        changes=tuple(changes),
        values={(name, None): value for name, value in names.items()},
    )


def row_of(rows, network, method):
    (found,) = [row for row in rows if (row.measure.network, row.measure.method) == (network, method)]
    return found


def test_mean_deviation_and_difference_in_the_table_s_unit():
    plans = planned_runs("table2")
    accuracies = {0: 0.985, 1: 0.986, 2: 0.990}
    runs = [
        reached(plan, test_accuracy=accuracies[plan.seed], training_accuracy=1.0)
        for plan in plans
        if (plan.network, plan.method) == ("mlp", "al")
    ]
    rows = compare("table2", plans, runs[::-1])
    assert [(row.measure.network, row.measure.method) for row in rows] == [
        ("mlp", "bp"), ("mlp", "al"), ("mlp", "dtp"), ("cnn", "bp"), ("cnn", "al")
    ]  # fmt: skip
    al = row_of(rows, "mlp", "al")
    assert al.ours == pytest.approx(98.7)
    assert al.deviation == pytest.approx(0.2645751311)
    assert al.difference == pytest.approx(0.1)
    assert (al.unit, al.seeds, al.remarks, al.partial) == ("%", (0, 1, 2), (), False)
    bp = row_of(rows, "mlp", "bp")
    assert (bp.ours, bp.deviation, bp.difference, bp.seeds, bp.remarks, bp.partial) == (None, None, None, (), (), False)


def test_what_is_less_or_other_than_the_recipe_is_said():
    plans = [plan for plan in planned_runs("table2") if (plan.network, plan.method) == ("mlp", "bp")]
    rate = "learning rate 0.001, not 0.0001"
    one = compare("table2", plans, [reached(plans[0], epochs=3, test_accuracy=0.9)])[0]
    assert one.remarks == ("3 of 200 epochs", "1 seed")
    assert one.deviation is None
    runs = [reached(plan, epochs=3 + plan.seed, test_accuracy=0.9, changes=[rate]) for plan in plans]
    assert compare("table2", plans, runs)[0].remarks == ("3 to 5 of 200 epochs", rate)
    runs[1] = reached(plans[1], epochs=200, test_accuracy=0.9)
    assert compare("table2", plans, runs)[0].remarks == ("3 to 200 of 200 epochs", f"{rate} in some")
    assert compare("table2", plans, runs)[0].partial


def test_more_epochs_than_the_recipe_s_are_a_change_and_not_a_lack():
    plans = planned_runs("table2", networks=["cnn"], methods=["bp"])
    runs = [reached(plan, epochs=300, test_accuracy=0.9, changes=["300 epochs, not 200"]) for plan in plans]
    assert compare("table2", plans, runs)[0].remarks == ("300 epochs, not 200",)


def test_runs_that_were_not_asked_for_are_not_counted():
    plans = planned_runs("table2", seeds=[0, 1], networks=["mlp"], methods=["al"])
    other = planned_runs("table2", seeds=[7], networks=["mlp"], methods=["al"])
    runs = [reached(plan, test_accuracy=0.5) for plan in (*plans, *other)]
    (row,) = compare("table2", plans, runs)
    assert row.seeds == (0, 1)


def test_table_5_has_a_row_for_each_layer_of_each_depth():
    plans = planned_runs("table5", seeds=[0])
    runs = []
    for plan, losses in zip(plans, [(1e-5,), (2e-5, 4e-7), (3e-5, 5e-7, 6e-10)], strict=True):
        values = {("associated loss", i): loss for i, loss in enumerate(losses, 1)}
        runs.append(dataclasses.replace(reached(plan), values=values))
    rows = compare("table5", plans, runs)
    assert [(row.measure.components, row.measure.layer) for row in rows] == [
        (1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)
    ]  # fmt: skip
    assert [row.ours for row in rows] == [1e-5, 2e-5, 4e-7, 3e-5, 5e-7, 6e-10]
    assert rows[-1].difference == pytest.approx(6e-10 - 6.7192e-10)


def test_table_6_goes_on_where_the_paper_ends():
    plans = planned_runs("table6", seeds=[0])
    rows = compare("table6", plans, [reached(plan, training_accuracy=1.0, test_accuracy=0.97) for plan in plans])
    assert [row.measure.components for row in rows if row.published] == [1, 1, 2, 2, 3, 3]
    beyond = [row for row in rows if not row.published]
    assert [row.measure.components for row in beyond] == [4, 4, 8, 8, 16, 16, 32, 32]
    assert {row.difference for row in beyond} == {None}
    assert all(row.ours in (0.97, 1.0) and row.unit == "" for row in rows)


def test_table_7_has_three_numbers_a_run():
    plans = planned_runs("table7", seeds=[0], networks=["mlp"], methods=["al"])
    values = {"inter-class distance": 0.8, "intra-class distance": 0.4, "ratio": 2.0}
    runs = [reached(plan, **values) for plan in plans]
    rows = compare("table7", plans, runs)
    assert [(row.measure.dataset, row.measure.quantity, row.ours) for row in rows][:3] == [
        ("cifar10", name, value) for name, value in values.items()
    ]
    assert len(rows) == 6


def test_a_diverged_run_is_shown_and_has_no_deviation():
    plans = planned_runs("table5", seeds=[0, 1], components=[1])
    runs = [
        dataclasses.replace(reached(plan), values={("associated loss", 1): value})
        for plan, value in zip(plans, (1.0, float("nan")), strict=True)
    ]
    (row,) = compare("table5", plans, runs)
    assert row.ours != row.ours
    assert row.deviation is None
