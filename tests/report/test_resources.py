"""What times were made of: medians of the rounds, columns for what is known, and a gap for what is not."""

import dataclasses

import msgspec
import pytest

from albench.harness.memory import Memory
from albench.harness.scenario import Scenario
from albench.harness.telemetry import GpuTelemetry, Telemetry
from albench.report import find
from albench.report.resources import resource_table, resources_of

from . import made_up

BP = Scenario(method="bp", engine="eager", hidden_layers=8, width=32, batch_size=16, minibatches=10)


def telemetry(own_cores, *gpus):
    return Telemetry(
        window_seconds=1.0, samples=50, interval_seconds=0.02, own_cores=own_cores, other_cores=0.25, gpus=list(gpus)
    )


def gpu(index, **fields):
    return GpuTelemetry(index=index, name="Made-up GPU", uuid=f"GPU-{index}", **fields)


def record(round_number, **fields):
    given = {"seconds": 2.0, "instances": 160, "flops_per_minibatch": 10**9, "matmul_peak_flops_per_second": 2e10}
    return made_up.record(BP, round=round_number, **given | fields)


def only(records):
    (work,) = resources_of(records)
    return work


def test_rounds_are_drawn_together_by_their_median():
    records = [record(i, seconds=s, telemetry=telemetry(c)) for i, (s, c) in enumerate([(1, 0.5), (2, 0.7), (9, 0.9)])]
    (case,) = only(records).cases
    assert case.used == pytest.approx(
        {"GFLOP/s": 5e9, "of the measured peak": 0.25, "own cores busy": 0.7, "other cores busy": 0.25}
    )
    table = resource_table(only(records), title="small")
    assert table.columns == (
        "series",
        "ℓ",
        "N",
        "GFLOP/s",
        "of the measured peak",
        "own cores busy",
        "other cores busy",
    )
    assert [cell.plain for cell in table.rows[0].cells] == ["BP, 1 thread", "8", "10", "5.00", "25 %", "0.700", "0.250"]


def test_only_gpus_that_the_case_ran_on_count():
    used = [
        gpu(i, used=True, mean_utilisation=u, mean_power_watts=300.0, energy_joules=60.0) for i, u in ((0, 0.5), (1, 1))
    ]
    idle = gpu(2, used=False, mean_utilisation=0.0, mean_power_watts=50.0, energy_joules=5.0)
    work = only([record(0, telemetry=telemetry(1.0, *used, idle))])
    found = work.cases[0].used
    assert (found["GPU utilisation"], found["power, W"]) == (0.75, 600.0)
    assert found["mJ a sample"] == pytest.approx(120 / 160)
    assert "SM clock, MHz" not in found, "one GPU without a clock: no mean of the others passes for it"
    assert "any kernel ran" in resource_table(work, title="").note


def test_memory_is_what_training_took_beyond_what_was_there():
    memory = Memory(
        minibatches=4,
        host_peak_bytes=300 * 2**20,
        host_baseline_bytes=100 * 2**20,
        process_peak_bytes=[],
        host_method="",
    )
    assert only([record(0, memory=memory), record(1)]).cases[0].used["host memory, MiB"] == 200 * 2**20


def test_memory_of_a_device_is_told_without_the_data_that_lay_there_before():
    memory = Memory(
        minibatches=4,
        host_peak_bytes=1,
        host_baseline_bytes=1,
        process_peak_bytes=[],
        host_method="",
        device_peak_bytes=300,
        device_baseline_bytes=100,
    )
    assert only([record(0, memory=memory)]).cases[0].used["device memory, MiB"] == 200


def test_what_one_case_lacks_is_a_gap_and_what_all_lack_no_column():
    deep = msgspec.structs.replace(record(0), scenario=dataclasses.replace(BP, hidden_layers=16))
    work = only([record(0, telemetry=telemetry(1.0)), deep])
    table = resource_table(work, title="small")
    assert "host memory, MiB" not in table.columns
    assert table.rows[1].cells[table.columns.index("own cores busy")].plain == "–"


def test_where_nothing_is_known_there_is_no_table():
    bare = record(0, flops_per_minibatch=None, matmul_peak_flops_per_second=None)
    assert resources_of([bare]) == []
    assert find([bare]).resources == ()
