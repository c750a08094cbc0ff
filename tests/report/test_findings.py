"""Findings from made-up records with known answers."""

import dataclasses
from statistics import median

import pytest

from albench.analysis.projection import pipeline_seconds
from albench.errors import UsageError
from albench.harness.scenario import Scenario
from albench.report import Findings, find, side_by_side
from albench.report.accuracy import depth_gap
from albench.report.answers import headline
from albench.report.origin import trust_sentence
from albench.report.page import page_html
from albench.report.regimes import Regime
from albench.report.side_by_side import pair_tables

from . import made_up
from .test_usage import watched


def small(findings: Findings) -> Regime:
    return next(regime for regime in findings.regimes if regime.work.width == 32)


def large(findings: Findings) -> Regime:
    return next(regime for regime in findings.regimes if regime.work.width == 512)


def test_times_are_compared_only_where_the_work_is_the_same(findings: Findings) -> None:
    assert [regime.title for regime in findings.regimes] == ["width 32, batch 16", "width 512, batch 128"]
    names = ["AL serial", "AL threads, 2 lanes", "AL fused", "BP, 1 thread", "BP, 2 threads"]
    assert all([series.name for series in regime.series] == names for regime in findings.regimes)


def test_the_rate_of_a_layer_tells_launches_from_arithmetic(findings: Findings) -> None:
    assert (small(findings).rule, large(findings).rule) == ("launches", "arithmetic")
    # 6·32² operations an instance and layer, 16 instances a mini-batch, 0.05 ms a layer
    assert small(findings).flops_per_second == pytest.approx(6 * 32**2 * 16 / 0.05e-3, rel=0.03)


def test_one_regime_alone_is_not_said_to_be_ruled_by_anything() -> None:
    assert find(made_up.sweep(made_up.SMALL, width=32, batch_size=16)).regimes[0].rule == ""


def test_a_point_is_the_median_of_its_rounds(findings: Findings) -> None:
    records = [
        record
        for record in made_up.everything()
        if record.scenario.series == "AL fused"
        and (record.scenario.width, record.scenario.hidden_layers, record.scenario.minibatches) == (32, 64, 80)
        and record.scenario.purpose == "time"
    ]
    point = next(series for series in small(findings).series if series.name == "AL fused").at(64, 80)
    assert point is not None
    assert point.rounds == len(records) == made_up.ROUNDS
    assert point.seconds.estimate == median(record.seconds or 0.0 for record in records)
    assert point.milliseconds.estimate == pytest.approx(1e3 * point.seconds.estimate / 80)
    assert point.samples_per_second == pytest.approx(80 * 16 / point.seconds.estimate)


def test_verdicts_know_the_laws_that_made_the_times(findings: Findings) -> None:
    verdicts = {series.name: series.verdict.complexity for series in small(findings).series}
    assert verdicts == {
        "AL serial": "O(nℓ)",
        "AL threads, 2 lanes": "O(nℓ/K)",
        "AL fused": "O(n+ℓ)",
        "BP, 1 thread": "O(nℓ)",
        "BP, 2 threads": "O(nℓ)",
    }


def test_an_extra_layer_is_measured_in_layers_of_the_fastest_bp(findings: Findings) -> None:
    regime = small(findings)
    assert regime.baseline is not None
    assert regime.baseline.name == "BP, 1 thread"
    fused = next(series for series in regime.series if series.name == "AL fused")
    ratio = regime.product_ratio(fused)
    assert ratio is not None
    assert ratio.estimate == pytest.approx(0.001 / 0.05, abs=0.01)
    assert regime.product_ratio(regime.baseline) is None
    large_baseline = large(findings).baseline
    assert large_baseline is not None
    assert large_baseline.name == "BP, 2 threads"


def test_each_side_brings_its_fastest_engine_and_losses_count(findings: Findings) -> None:
    first, *_, last = small(findings).comparisons
    assert (first.hidden_layers, first.al, first.bp) == (2, "AL fused", "BP, 1 thread")
    assert first.speedup.high < 1
    assert last.hidden_layers == 64
    assert last.speedup.estimate == pytest.approx(last.bp_milliseconds.estimate / last.al_milliseconds.estimate)
    assert last.speedup.low <= last.speedup.estimate <= last.speedup.high
    assert last.speedup.low > 5
    assert all("projected" not in one.al for regime in findings.regimes for one in regime.comparisons)


def test_only_equal_work_is_compared() -> None:
    records = made_up.sweep({("al", "fused", 1): made_up.pipeline(0.4, 0.001, 0.1)}, width=32, batch_size=16)
    others = made_up.sweep(
        {("bp", "eager", 1): made_up.product(0.2, 0.05)}, width=32, batch_size=16, lengths=(10, 30, 80)
    )
    comparisons = find([*records, *others]).regimes[0].comparisons
    assert {one.minibatches for one in comparisons} == {80}


def test_a_projection_replays_the_measured_tasks_and_says_so(findings: Findings) -> None:
    regime = small(findings)
    (projected,) = regime.projected
    assert projected.projected
    assert projected.name.endswith("(projected)")
    assert not any(series.projected for series in regime.series)
    source = next(
        record for record in made_up.everything() if record.task_seconds and record.scenario.minibatches == 80
    )
    point = projected.at(source.scenario.hidden_layers, 80)
    assert point is not None
    assert point.seconds.estimate == pytest.approx(pipeline_seconds(source.task_seconds or [], 80))
    assert point.lanes == source.scenario.hidden_layers // 2
    assert point.accuracy is None


def test_projections_are_checked_on_lanes_that_exist(findings: Findings) -> None:
    checks = small(findings).checks
    assert {check.series for check in checks} == {"AL serial", "AL threads, 2 lanes"}
    serial = [check for check in checks if check.series == "AL serial" and check.minibatches == 80]
    # tasks were made to take nine tenths of what a layer costs, so the clock is a little slower than the replay
    assert all(1.0 < check.ratio < 1.5 for check in serial)


def test_an_option_that_is_varied_splits_a_series_and_one_that_is_not_stays_unsaid() -> None:
    records = []
    for distinct in (True, False):
        for record in made_up.sweep({("al", "serial", 1): made_up.product(0.1, 0.2)}, width=32, batch_size=16):
            scenario = dataclasses.replace(record.scenario, distinct_targets=distinct)
            records.append(made_up.record(scenario, seconds=record.seconds))
    (regime,) = find(records).regimes
    assert [series.name for series in regime.series] == [
        "AL serial, distinct targets off",
        "AL serial, distinct targets on",
    ]


def test_a_regime_says_what_else_tells_it_apart() -> None:
    records = made_up.sweep({("bp", "eager", 1): made_up.product(0.1, 0.2)}, width=32, batch_size=16)
    twins = [
        made_up.record(dataclasses.replace(record.scenario, precision="float64"), seconds=record.seconds)
        for record in records
    ]
    titles = [regime.title for regime in find([*records, *twins]).regimes]
    assert titles == ["width 32, batch 16, float32", "width 32, batch 16, float64"]


def test_a_record_that_does_not_say_its_instances_has_those_of_its_case() -> None:
    records = made_up.sweep(made_up.SMALL, width=32, batch_size=16)
    silent = [made_up.record(r.scenario, seconds=r.seconds, round=r.round, instances=0) for r in records]
    assert [series.verdict for series in find(silent).regimes[0].series] == [
        series.verdict for series in find(records).regimes[0].series
    ]


def test_what_is_out_of_the_ordinary_is_said_where_nothing_else_was_measured() -> None:
    scenario = Scenario(
        method="al", engine="serial", hidden_layers=8, width=32, batch_size=16, minibatches=20, network="cnn"
    )
    plain = dataclasses.replace(scenario, network="mlp")
    pooled = dataclasses.replace(scenario, bridge="pooled", precision="float64")
    titles = [find([made_up.record(one, seconds=1.0)]).regimes[0].title for one in (plain, scenario, pooled)]
    assert titles == [
        "width 32, batch 16",
        "width 32, batch 16, cnn",
        "width 32, batch 16, cnn, float64, pooled bridges",
    ]


def test_accuracy_is_a_mean_over_seeds_and_deep_failure_is_noticed(findings: Findings) -> None:
    accuracy = findings.accuracy_of(small(findings))
    assert accuracy is not None
    assert accuracy.trained_to_the_end
    assert [series.name for series in accuracy.series] == ["AL", "BP"]
    shallow = accuracy.series[0].at(2)
    assert shallow is not None
    assert shallow.seeds == 5
    assert shallow.mean.estimate == pytest.approx(0.965)
    assert shallow.mean.low < 0.965 < shallow.mean.high
    gap = depth_gap(accuracy)
    assert gap is not None
    assert gap.notable
    assert gap.below_best == pytest.approx(0.855)
    assert gap.below_bp == pytest.approx(0.79)


def test_flat_and_pooled_bridges_are_two_kinds_of_work() -> None:
    """They would have been one series otherwise, and its time the median of two networks."""
    records = [
        made_up.record(
            Scenario(
                method="al",
                engine="serial",
                hidden_layers=8,
                width=256,
                batch_size=32,
                minibatches=12,
                network="cnn",
                dataset="cifar10",
                bridge=bridge,
            ),
            seconds=seconds,
        )
        for bridge, seconds in (("flat", 6.0), ("pooled", 2.0))
    ]
    found = {regime.title: regime.series[0].points[0].seconds.estimate for regime in find(records).regimes}
    assert found == {
        "width 256, batch 32, cnn, flat bridges": 6.0,
        "width 256, batch 32, cnn, pooled bridges": 2.0,
    }


def test_initial_weights_of_two_scales_are_two_series() -> None:
    """As are two rates: the network and its work are the same, what it learns is not."""
    records = made_up.trained({"al": {64: 0.97}})
    records += [
        made_up.record(dataclasses.replace(one.scenario, initial_scale=2.0), seconds=3.0, accuracy=0.1)
        for one in records
    ]
    (accuracy,) = find(records).accuracies
    assert [(one.name, round(one.points[0].mean.estimate, 2)) for one in accuracy.series] == [
        ("AL fused, initial weights × 1", 0.97),
        ("AL fused, initial weights × 2", 0.1),
    ]


def test_a_seed_that_ran_twice_counts_once() -> None:
    records = made_up.trained({"al": {2: 0.9}}, seeds=2)
    accuracy = find([*records, made_up.record(records[0].scenario, seconds=3.0, accuracy=records[0].accuracy)])
    (point,) = accuracy.accuracies[0].series[0].points
    assert point.seeds == 2
    assert point.mean.estimate == pytest.approx(0.9)


def test_timed_runs_stand_in_for_accuracy_and_are_called_that(findings: Findings) -> None:
    accuracy = findings.accuracy_of(large(findings))
    assert accuracy is not None
    assert not accuracy.trained_to_the_end


def test_failures_and_fewer_rounds_and_capped_lanes_are_findings(findings: Findings) -> None:
    assert {(one.status, one.reason) for one in findings.failures} == {
        ("timed-out", "killed after 60 s"),
        ("out-of-memory", "only 1.1 GiB of memory were left"),
    }
    texts = [remark.text for remark in findings.remarks]
    assert any("measured 3 times, where others of the same work were measured 4 times" in text for text in texts)
    assert any("asked for 2 lanes and ran on 1" in text for text in texts)
    assert "the control moved by 18 %" in texts


def test_the_share_of_the_input_pipeline_is_a_remark_and_no_time_among_the_others() -> None:
    records = made_up.sweep(made_up.SMALL, width=32, batch_size=16)
    bp = [record for record in records if record.scenario.method == "bp" and record.scenario.lanes == 1]
    ready = [record for record in bp if (record.scenario.hidden_layers, record.scenario.minibatches) == (8, 80)]
    assert len(ready) > 1
    drawn = [
        made_up.record(
            dataclasses.replace(record.scenario, purpose="input"), seconds=1.1 * record.seconds, round=record.round
        )
        for record in ready
    ]
    alone, found = find(records), find([*records, *drawn])
    assert found.regimes == alone.regimes
    (remark,) = [remark for remark in found.remarks if "input pipeline" in remark.text]
    assert "1.10 [1.10, 1.10] times as long" in remark.text
    assert remark.scenarios == (f"{ready[0].scenario.describe()}, input pipeline on",)


@pytest.mark.parametrize(("count", "told"), [(3, "seeds 0, 1, 2"), (200, "200 seeds, 0 to 199")])
def test_many_seeds_are_counted_and_not_listed(count: int, told: str) -> None:
    idle = Scenario(method="idle", engine="eager", hidden_layers=2, width=8, batch_size=8, minibatches=1)
    records = [made_up.record(dataclasses.replace(idle, seed=seed), seconds=1e-5) for seed in range(count)]
    assert f"times pool the rounds of {told}" in [remark.text for remark in find(records).remarks]
    assert headline(find(records)) == "Nothing was trained: these are the harness's own times."


def test_a_time_of_zero_is_a_failure_not_an_infinite_speed() -> None:
    (record, *others) = made_up.sweep(made_up.SMALL, width=32, batch_size=16)
    found = find([made_up.record(record.scenario, seconds=0.0), *others])
    assert [one.status for one in found.failures] == ["failed"]


def test_a_fact_that_differs_between_records_shows_each_value() -> None:
    scenario = Scenario(method="bp", engine="eager", hidden_layers=2, width=4, batch_size=2, minibatches=1)
    machines = [
        {"cpu": {"cores": cores}, "gpus": [{"name": "Made-up GPU", "memory_bytes": 2**34}]} for cores in (2, 2, 4)
    ]
    records = [made_up.record(scenario, seconds=1.0, round=i, environment=one) for i, one in enumerate(machines)]
    facts = {fact.name: fact.values for fact in find(records).environment}
    assert facts == {
        "cpu: cores": (("2", 2), ("4", 1)),
        "gpus 1: name": (("Made-up GPU", 3),),
        "gpus 1: memory": (("16.0 GiB", 3),),
    }


def test_only_failures_are_findings_too() -> None:
    found = find([made_up.failed()])
    assert found.regimes == ()
    assert len(found.failures) == 1


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="no measured record"):
        find([])
    with pytest.raises(UsageError, match="only controls in 1 record: run a suite"):
        find([made_up.record(dataclasses.replace(made_up.IDLE, purpose="control"), seconds=1.0)])


FOREIGN = (5, -1, 1e308, True, None, "two", [], ["a", 1], [[1]], [None], {"a": [1]}, [{"name": [1]}])


@pytest.mark.parametrize("value", FOREIGN, ids=repr)
def test_facts_of_a_foreign_type_are_shown_and_break_nothing(value: object) -> None:
    """Records may come from anywhere: an environment is whatever somebody wrote into it."""
    names = ("cpu", "usable_cores", "cpu_governors", "memory_bytes", "packages", "variables", "load_average_1_min")
    environment = dict.fromkeys((*names, "gpus", "commit", "platform", "python", "gpu_reason"), value)
    records = [
        made_up.record(
            Scenario(method="bp", engine="eager", hidden_layers=2, width=8, batch_size=4, minibatches=8, device=device),
            seconds=1.0 + number,
            round=number,
            environment=environment,
            telemetry=watched(1.0),
        )
        for number in range(2)
        for device in ("cpu", "cuda")
    ]
    found = find(records)
    page = page_html(found, [], command="albench report", title="foreign")
    assert "Environment" in page
    both = side_by_side(("a", records, ()), ("b", [made_up.record(made_up.IDLE, seconds=1.0)], ()))
    assert pair_tables(both)


def test_machines_that_are_pooled_are_told_in_the_first_screen_and_among_the_remarks() -> None:
    """A verdict over the times of two machines may be a verdict on the machines."""
    other = made_up.ENVIRONMENT | {"cpu": "Another CPU", "usable_cores": 64}
    law = {("al", "fused", 1): made_up.SMALL["al", "fused", 1]}
    records = made_up.sweep(law, width=32, batch_size=16)
    pooled = [made_up.record(r.scenario, seconds=r.seconds, round=r.round, environment=other) for r in records[::2]]
    both = ("Made-up CPU, 2 cores", "Another CPU, 64 cores")
    found = find(records[1::2] + pooled)
    assert found.machines == both
    assert "of 2 machines, pooled: Made-up CPU, 2 cores; Another CPU, 64 cores." in trust_sentence(found)
    assert "may be the machines" in found.remarks[0].text
    alone = find(records)
    assert "pooled" not in trust_sentence(alone)
    assert not any("machines" in remark.text for remark in alone.remarks)
