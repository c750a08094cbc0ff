"""Plan: every number that the paper printed has a run, what tables share is one run, and filters say what they miss."""

import pytest

from albench.errors import UsageError
from albench.methods import method_named
from albench.reproduction.plan import BOTH, RunPlan, components_of, planned_runs, target_named
from albench.reproduction.published import published

TABLES = ("table2", "table3", "table4", "table5", "table6", "table7")


@pytest.mark.parametrize("table", TABLES)
def test_every_printed_number_has_its_runs_and_no_run_is_idle(table):
    runs = planned_runs(table, seeds=[0])
    deep = target_named(table).kind == "depth"

    def cell(one):
        components = components_of(one) if deep and isinstance(one, RunPlan) else one.components
        return one.dataset, one.network, one.method, components

    printed = {cell(one.measure) for one in published(table)}
    planned = {cell(run) for run in runs}
    assert printed <= planned
    beyond = {("mnist", "mlp", "al", count) for count in (4, 8, 16, 32)} if table == "table6" else set()
    assert planned - printed == beyond
    for run in runs:
        method_named(run.method)


def test_what_tables_share_is_one_run():
    assert set(planned_runs("figure5")) < set(planned_runs("table3"))
    assert set(planned_runs("figure6")) < set(planned_runs("table7"))
    assert set(planned_runs("table5")) < set(planned_runs("table6"))
    two = RunPlan(dataset="mnist", network="mlp", method="al", seed=1)
    assert two in planned_runs("table6")
    assert two in planned_runs("table2")


def test_names_are_folders_of_their_own():
    runs = {run for table in TABLES for run in planned_runs(table, seeds=[0, 1])}
    assert len({run.name for run in runs}) == len(runs)
    assert RunPlan(dataset="mnist", network="mlp", method="al", components=3, seed=2).name == (
        "mnist-mlp-al-3-components-seed-2"
    )
    assert RunPlan(dataset="cifar10", network="cnn", method="bp").recipe == "cifar10-cnn"


def test_a_seed_is_finished_before_the_next_and_a_picture_needs_one():
    seeds = [run.seed for run in planned_runs("table2", seeds=[4, 1])]
    assert seeds == [4] * 5 + [1] * 5
    assert {run.seed for run in planned_runs("figure5", seeds=[4, 1])} == {4}


def test_filters_leave_out_what_is_not_named():
    runs = planned_runs("table3", seeds=[0], networks=["cnn", "mlp"], methods=["al"])
    assert [(run.network, run.method) for run in runs] == [("mlp", "al"), ("cnn", "al")]
    assert {run.dataset for run in planned_runs("table7", datasets=["cifar100"])} == {"cifar100"}
    assert [components_of(run) for run in planned_runs("table6", seeds=[0], components=[2, 5])] == [2, 5]


def test_figures_name_as_many_layers_of_each_method():
    for figure in ("figure5", "figure6"):
        layers = target_named(figure).layers
        assert {len(names) for names in layers.of_method.values()} == {len(layers.titles)}
        assert tuple(layers.of_method) == BOTH


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("table9", {}, "unknown table or figure 'table9': did you mean 'table"),
        ("table2", {"networks": ["vgg"]}, "table2 has no network 'vgg': it has mlp, cnn"),
        ("table4", {"methods": ["dtp"]}, "table4 has no method 'dtp': it has bp, al"),
        ("table2", {"components": [1]}, "table2 does not vary the number of components"),
        ("table7", {"datasets": ["mnist"]}, "table7 has no data set 'mnist': it has cifar10, cifar100"),
        ("table2", {"networks": ["cnn"], "methods": ["dtp"]}, "table2 has no run of these"),
        ("table5", {"components": [0]}, "components is 0"),
        ("table6", {"components": [10**9]}, "components is 1000000000: give whole numbers from 1 to 4096"),
        ("table2", {"seeds": []}, "seeds are none"),
        ("table2", {"seeds": [1, 1]}, "seeds are 1, 1"),
        ("table2", {"seeds": [-1]}, "seeds are -1"),
    ],
)
def test_what_a_table_has_not_is_refused(target, options, message):
    with pytest.raises(UsageError, match=message):
        planned_runs(target, **options)
