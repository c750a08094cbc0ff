"""Usage over time: of the telling runs, as their records hold it, and told where a run was too short."""

import msgspec
import pytest

from albench.harness.telemetry import GpuTelemetry, Series, Telemetry
from albench.report.findings import find
from albench.report.usage_figure import usage_drawing

from . import contest_records, made_up

pytestmark = pytest.mark.usefixtures("styled")

LAWS = {
    ("al", "serial", 1): made_up.product(1.0, 0.5),
    ("al", "fused", 1): made_up.product(1.0, 0.1),
    ("bp", "eager", 1): made_up.product(0.4, 0.2),
    ("bp", "eager", 2): made_up.product(0.4, 0.3),
}


def watched(window, readings=20, gpu=False):
    seconds = [window * (i + 0.5) / readings for i in range(readings)]
    columns = {"busy cores": [1.9] * readings, "own cores": [1.5 - 0.5 * (i < 3) for i in range(readings)]}
    gpus = []
    if gpu:
        columns |= {
            "GPU 0 utilisation": [None, *[0.97] * (readings - 1)],
            "GPU 0 sm_clock_hertz": [1.98e9] * readings,
            "GPU 0 power_watts": [300.0 + i for i in range(readings)],
        }
        gpus = [GpuTelemetry(index=0, name="Made-up", uuid="GPU-0", used=True, mean_utilisation=0.97)]
    return Telemetry(
        window_seconds=window,
        samples=readings,
        interval_seconds=window / readings,
        core_use=[0.9, 0.6],
        own_cores=1.42,
        gpus=gpus,
        series=Series(seconds=seconds, columns=columns),
    )


def too_short(window):
    return Telemetry(
        window_seconds=window,
        samples=2,
        interval_seconds=0.02,
        too_short=f"2 readings in a window of {window:.3g} s: at least 5 are needed",
    )


def records(telemetry, **changes):
    """Return a sweep, each record with what `telemetry` makes of it."""
    found = made_up.sweep(LAWS, width=32, batch_size=16, depths=(2, 8), rounds=2, **changes)
    return [msgspec.structs.replace(one, telemetry=telemetry(one)) for one in found]


def test_the_longest_runs_of_the_fastest_series_are_told():
    (usage,) = find(records(lambda one: watched(one.seconds, 10 + one.round))).usages
    assert [(case.name, case.side, case.hidden_layers, case.minibatches) for case in usage.cases] == [
        ("AL fused", "al", 8, 80),
        ("BP, 1 thread", "bp", 8, 80),
    ]
    assert {case.round for case in usage.cases} == {1}  # the round with more readings
    assert usage.cores == 2


def test_the_best_pipeline_is_told_too():
    found = [
        msgspec.structs.replace(one, telemetry=watched(one.seconds or 1.0)) for one in contest_records.contest(rounds=1)
    ]
    (usage,) = find(found).usages
    assert [case.name for case in usage.cases] == ["AL threads, 2 lanes", "BP, 2 threads", "GPipe, 2 lanes, M = 4"]
    drawing = usage_drawing(usage, "usage")
    assert "GPipe, 2 lanes, M = 4 at ℓ = 8, N = 24, 3.38 s, 1.4 cores busy" in drawing.alt


def drawing_of(found):
    (usage,) = find(found).usages
    return usage_drawing(usage, "usage")


def test_a_run_that_was_too_short_says_so_and_is_not_replaced():
    drawing = drawing_of(records(lambda one: too_short(0.1) if one.scenario.method == "bp" else watched(0.9)))
    assert "BP, 1 thread at ℓ = 8, N = 80, no readings, 2 readings in a window of 0.1 s" in drawing.alt
    assert "AL fused at ℓ = 8, N = 80, 0.900 s, 1.4 cores busy" in drawing.alt
    assert b"nan" not in drawing.svg


def test_where_all_were_too_short_or_nothing_was_read_there_is_no_figure():
    assert find(records(lambda one: too_short(0.1))).usages == ()
    assert find(records(lambda one: None)).usages == ()


def test_a_gpu_has_rows_of_its_own():
    host = drawing_of(records(lambda one: watched(1.0)))
    card = drawing_of(records(lambda one: watched(1.0, readings=120, gpu=True)))  # as many as a record keeps
    assert card.height > host.height + 200
    assert "GPU utilisation 97 %" in card.alt
    assert "in which any kernel ran" in card.reading
    assert "GPU" not in host.alt + host.title
    assert len(card.svg) < 150_000
    assert host == drawing_of(records(lambda one: watched(1.0)))
