"""What is warned of in records, with and without telemetry."""

import types

import msgspec
import pytest

from albench.harness.concerns import quality_warnings
from tests.harness.test_run_pair import case

SIX = [0.1, 0.101, 0.1, 0.099, 0.1, 0.1]


def kinds(records):
    return [(warning.kind, warning.case.split(", ")[2:3]) for warning in quality_warnings(records)]


def test_cases_are_told_apart_and_failures_say_nothing():
    records = [*case(8, SIX), *case(9, [0.001] * 6), *case(10, SIX[:2]), *case(11, ["failed", "failed"])]
    assert kinds(records) == [("too-short", ["width 9"]), ("too-few-samples", ["width 10"])]
    assert quality_warnings([]) == []


def test_a_network_trained_to_the_end_is_timed_once_and_not_blamed_for_it():
    assert kinds(case(8, [0.1], scenario={"purpose": "accuracy"})) == []


def test_cases_that_do_nothing_are_not_told_to_do_more_of_it():
    idle = {"method": "idle", "engine": "eager"}
    assert kinds(case(8, [6e-6], scenario=idle)) == []
    assert [kind for kind, _ in kinds(case(8, [6e-6, 6e-6, 1e-5, 1e-5], scenario=idle))] == ["too-noisy"]


def test_the_machine_is_judged_by_its_busiest_start():
    quiet, busy = {"load_average_1_min": 0.1, "usable_cores": 2}, {"load_average_1_min": 1.9, "usable_cores": 2}
    busy["cpu_governors"] = ["powersave"]
    records = [msgspec.structs.replace(one, environment=busy if one.round == 3 else quiet) for one in case(8, SIX)]
    assert [warning.kind for warning in quality_warnings(records)] == ["busy-machine", "frequency-scaling"]
    assert quality_warnings(case(8, SIX, environment={})) == [], "nothing is known of the machine"


@pytest.mark.parametrize("observed", [True, False])
def test_telemetry_is_used_where_there_is_any(monkeypatch, observed):
    """Made up as attributes of the record, for a record without telemetry must do too."""
    gpu = types.SimpleNamespace(throttle_reasons={"hardware slowdown": 0.5}, used=True)
    telemetry = types.SimpleNamespace(other_cores=0.5, core_use=[0.9, 0.8], gpus=[gpu])
    dark = types.SimpleNamespace(
        other_cores=None, core_use=None, gpus=[types.SimpleNamespace(throttle_reasons=None, used=None)]
    )

    def seen(one, number):
        found = {name: getattr(one, name) for name in one.__struct_fields__}
        return types.SimpleNamespace(**found | {"telemetry": (telemetry, dark, None)[number % 3] if observed else None})

    records = [seen(one, i) for i, one in enumerate(case(8, SIX))]
    found = quality_warnings(records)
    assert [(w.kind, w.detail) for w in found] == (
        [("other-load", "25 %"), ("throttled", "hardware slowdown")] if observed else []
    )
