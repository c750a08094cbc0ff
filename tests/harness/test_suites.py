"""The suites hold what their descriptions promise, on any machine."""

import dataclasses

import pytest

from albench.errors import UsageError
from albench.harness.estimate import estimated_seconds
from albench.harness.overrides import Overrides
from albench.harness.suites import SUITES, suite_scenarios
from albench.methods import METHODS


@pytest.mark.parametrize("cores", [1, 2, 3, 6, 8, 64])
@pytest.mark.parametrize("name", ["baselines", "baselines-fair"])
def test_all_baselines_get_the_same_work_on_any_machine(name, cores):
    found = suite_scenarios(name, cores=cores)
    assert {one.method for one in found} == set(METHODS) - {"idle", "dtp"}  # DTP is compared by accuracy alone
    work = {(one.hidden_layers, one.width, one.batch_size, one.minibatches, one.bridge_width) for one in found}
    assert len(work) == 1
    lanes = max(one.lanes for one in found)
    assert lanes == {1: 1, 2: 2, 3: 2, 6: 4, 8: 8, 64: 8}[cores]
    assert {one.lanes for one in found if one.method in ("gpipe", "1f1b", "ddp")} == {lanes}
    assert {one.replicas for one in found if one.method == "al-ddp"} == {lanes}
    assert {one.microbatches for one in found if one.method == "gpipe"} == {1, 2, 4, 8, 32}


def test_the_fair_suite_has_bridges_of_five_widths_at_any_width():
    assert all(one.bridge_width == 5 * one.width for one in suite_scenarios("baselines-fair", cores=2))
    wider = suite_scenarios("baselines-fair", Overrides(widths=(64,)), cores=2)
    assert {one.bridge_width for one in wider} == {320}
    assert {one.bridge_width for one in suite_scenarios("baselines", cores=2)} == {None}


def test_baselines_take_minutes_not_hours():
    for name in ("baselines", "baselines-fair"):
        assert sum(map(estimated_seconds, suite_scenarios(name, cores=2))) < 480
        assert SUITES[name].sweep_seconds is not None
        assert SUITES[name].sweep_seconds < 480


@pytest.mark.parametrize("cores", [1, 2, 3, 6, 16])
@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_made_on_any_machine(name, cores):
    scenarios = suite_scenarios(name, cores=cores)
    assert len({scenario.key for scenario in scenarios}) == len(scenarios)
    assert not [scenario for scenario in scenarios if scenario.purpose == "control"]


def test_devices_has_the_same_network_and_one_that_grows_with_the_lanes():
    scenarios = suite_scenarios("devices", cores=4)
    ranks = {(s.lanes, s.hidden_layers) for s in scenarios if s.engine == "ranks" and s.method == "al"}
    assert ranks == {(2, 16), (4, 16), (2, 8)}, "four lanes have four layers each at ℓ = 16 already"
    assert {s.lanes for s in scenarios if s.method == "bp"} == {1, 2, 4}
    assert {s.hidden_layers for s in scenarios if s.lanes == 1} == {16, 4}


@pytest.mark.parametrize("name", [name for name in SUITES if name.startswith("gpu")])
def test_the_gpu_suites_run_on_a_gpu_only(name):
    assert {scenario.device for scenario in suite_scenarios(name)} == {"cuda"}


def test_other_lanes_give_a_suite_everyone_on_them():
    """BP on one thread stands beside whatever has K lanes, and K is a number of replicas too: none is left out."""
    asked = suite_scenarios("baselines", Overrides(lanes=(4,)), cores=2)
    assert asked == suite_scenarios("baselines", cores=4)
    both = suite_scenarios("baselines", Overrides(lanes=(2, 4)), cores=1)
    assert set(both) == {*asked, *suite_scenarios("baselines", cores=2)}
    most = suite_scenarios("baselines", Overrides(lanes=(8,), hidden_layers=(8,)), cores=2)
    assert {one.lanes for one in most if one.method == "zero-bubble"} == {4}, "as many as it has stages for"


def test_other_lanes_change_a_suite_that_names_its_own():
    scenarios = suite_scenarios("gpu", Overrides(lanes=(2,)))
    assert {one.lanes for one in scenarios if one.engine == "graph" and one.method != "bp"} == {2}


def test_all_lanes_of_one_gpu_are_alike():
    """A lane stands in for a device: one alone is as large as one of eight, whoever is on it."""
    found = suite_scenarios("gpu-lanes")
    deepest = [one for one in found if one.hidden_layers == 32]
    lanes = {method: {one.lanes for one in deepest if one.method == method} for method in ("al", "gpipe", "1f1b")}
    assert lanes == {"al": {1, 2, 4, 8}, "gpipe": {2, 4, 8}, "1f1b": {2, 4, 8}}
    on_lanes = [one for one in found if one.lane_kind == "sm-share"]
    assert {one.lane_sms for one in on_lanes} == {8}
    assert {(one.method, one.lanes) for one in found if one.lane_kind == "stream"} == {("bp", 1)}, "the whole card"
    assert {(one.hidden_layers, one.lanes) for one in found if one.method == "al"} >= {(2, 1), (4, 2), (8, 4), (16, 8)}
    streams = suite_scenarios("gpu-lanes", Overrides(lane_kinds=("stream",)))
    assert {(one.lane_kind, one.lane_sms) for one in streams} == {("stream", None)}


def test_the_map_goes_to_sizes_that_fill_a_card():
    found = suite_scenarios("gpu-map")
    assert {one.batch_size for one in found} == {32, 128, 512, 2048}
    assert {one.width for one in found} == {64, 256, 512, 1024, 2048}
    assert {(one.method, one.engine) for one in found} == {
        ("al", "fused"),
        ("al", "fused-compiled"),
        ("al", "graph"),
        ("bp", "graph"),
        ("bp", "compiled-graph"),
    }


@pytest.mark.parametrize("cores", [1, 2, 8])
@pytest.mark.parametrize(
    "name", sorted(set(SUITES) - {"quickstart", "quick", "accuracy", "harness", "gpu-lanes", "gpu-map"})
)
def test_a_suite_shows_the_share_of_the_input_pipeline(name, cores):
    """Each such case is one that the suite measures with its data in memory too, or there would be no share."""
    scenarios = suite_scenarios(name, cores=cores)
    found = [one for one in scenarios if one.purpose == "input"]
    assert {one.method for one in found} == {"al", "bp"}
    assert {dataclasses.replace(one, purpose="time") for one in found} <= set(scenarios)


def test_other_axes_give_it_no_more_cases():
    changes = Overrides(minibatches=(5, 9), hidden_layers=(2, 4, 6), widths=(8, 9), datasets=("synthetic", "digits"))
    scenarios = suite_scenarios("samples", changes, cores=2)
    found = [one for one in scenarios if one.purpose == "input"]
    assert [(one.method, one.minibatches, one.hidden_layers, one.width) for one in found] == [
        ("al", 9, 4, 8),
        ("bp", 9, 4, 8),
    ]
    assert {dataclasses.replace(one, purpose="time") for one in found} <= set(scenarios)


def test_a_network_too_shallow_for_the_lanes_of_a_pipeline_is_left_out_where_a_deeper_one_is_not():
    """`albench run gpu-lanes --hidden-layers 2,16` still has AL and BP at both."""
    found = suite_scenarios("gpu-lanes", Overrides(hidden_layers=(2, 16)))
    assert {one.hidden_layers for one in found if one.method == "gpipe" and one.lanes == 8} == {16}
    assert {one.hidden_layers for one in found if one.method == "bp"} == {2, 16}
    with pytest.raises(UsageError, match="lanes is 4: GPipe cuts the network into 4 stages"):
        suite_scenarios("gpu-lanes", Overrides(hidden_layers=(2,), methods=("gpipe",)))
