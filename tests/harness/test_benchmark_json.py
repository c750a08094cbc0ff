"""pytest-benchmark's JSON: what is read back, what is passed over, and the metrics that stand in it by name."""

import json
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.errors import UsageError
from albench.harness import benchmark_json
from albench.harness.benchmark_json import EXTRA_INFO_KEY, FAILED_KEY, extra_info, failed_records, metrics, read
from albench.harness.control import latest
from albench.harness.records import VERSION, Record
from tests.harness.test_migration import GOLDEN
from tests.harness.test_records import record


def written(tmp_path, *benchmarks, **more):
    """Write a file with these benchmarks; return its path."""
    file = tmp_path / "b.json"
    file.write_text(json.dumps({"benchmarks": list(benchmarks), **more}))
    return file


def benchmark(one: Record, *seconds):
    return {"name": "test_x", "extra_info": extra_info(one), "stats": {"data": list(seconds)}}


FOREIGN = {"name": "test_y", "extra_info": {"ratios": []}, "stats": {"data": [1.0]}}


def test_each_round_becomes_a_record_and_failed_cases_come_along(tmp_path):
    failed = record(status="timed-out", seconds=None, reason="too slow")
    file = written(
        tmp_path, benchmark(record(), 0.5, 0.25), FOREIGN, **{FAILED_KEY: failed_records([failed, record()])}
    )
    found = read(file)
    assert [(one.round, one.seconds) for one in found] == [(0, 0.5), (1, 0.25), (2, None)]
    assert found[2].reason == failed.reason


def test_two_benchmarks_of_one_scenario_keep_all_their_rounds(tmp_path):
    """Counted on: with the same number the later would count as an attempt at the earlier, which was then dropped."""
    found = read(written(tmp_path, benchmark(record(), 0.5, 0.25), benchmark(record(), 0.75)))
    assert [one.seconds for one in latest(found)] == [0.5, 0.25, 0.75]


def test_records_of_a_newer_albench_are_refused(tmp_path):
    newer = benchmark(record(), 0.5)
    newer["extra_info"][EXTRA_INFO_KEY]["version"] = 99
    with pytest.raises(UsageError, match="has record version 99, this albench reads up to"):
        read(written(tmp_path, newer))


def test_records_of_an_older_albench_mean_what_they_meant(tmp_path):
    old = json.loads(GOLDEN.read_text(encoding="utf-8").splitlines()[0])
    file = written(
        tmp_path,
        {"name": "test_x", "extra_info": {EXTRA_INFO_KEY: old}, "stats": {"data": [0.5]}},
        **{FAILED_KEY: [old | {"status": "failed"}]},
    )
    found = read(file)
    assert [(one.version, one.key, one.scenario.device) for one in found] == [(VERSION, old["key"], "cpu")] * 2


WHOLE = json.dumps({"benchmarks": [benchmark(record(), 0.5), FOREIGN], FAILED_KEY: failed_records([record()])}).encode()


def read_or_refused(file):
    """Whether a file is read, or refused in one line."""
    try:
        return bool(read(file))
    except UsageError as error:
        return "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, len(WHOLE) - 1), junk=st.binary(max_size=4), cut=st.integers(0, 40))
def test_whatever_befalls_a_file_is_one_line_or_records(tmp_path_factory, position, junk, cut):
    file = tmp_path_factory.getbasetemp() / "fuzzed.json"
    file.write_bytes(WHOLE[:position] + junk + WHOLE[position + cut :])
    assert read_or_refused(file)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(field=st.sampled_from(sorted(extra_info(record())[EXTRA_INFO_KEY])), value=VALUES, data=VALUES)
def test_whatever_a_record_holds_is_one_line_or_records(tmp_path_factory, field, value, data):
    one = benchmark(record(), 0.5)
    one["extra_info"][EXTRA_INFO_KEY][field] = value
    if data is not None:
        one["stats"]["data"] = data
    file = tmp_path_factory.getbasetemp() / "fuzzed.json"
    file.write_text(json.dumps({"benchmarks": [one]}))
    assert read_or_refused(file)


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-1", "0", "1" + 400 * "0"])
def test_times_that_are_none_are_refused(tmp_path, time):
    file = tmp_path / "b.json"
    file.write_text(
        json.dumps({"benchmarks": [benchmark(record(), 0.5)]}).replace('"data": [0.5]', f'"data": [{time}]')
    )
    with pytest.raises(UsageError, match=r"b\.json") as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_a_file_without_any_record_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"b\.json holds no record of albench in any of its benchmarks; one that uses"):
        read(written(tmp_path, FOREIGN))
    with pytest.raises(UsageError, match=r"b\.json holds no benchmark: give a file that"):
        read(written(tmp_path))


def test_a_contest_is_called_one_and_not_blamed_on_how_it_was_written(tmp_path):
    contest = FOREIGN | {"extra_info": {"ratios": [{"claim": "threads beat serial", "rounds": 7}]}}
    with pytest.raises(UsageError, match=r"holds contests, .* told by the ratios .*test_depth\.py") as caught:
        read(written(tmp_path, contest))
    assert "\n" not in str(caught.value)


def test_a_saved_run_without_its_times_says_how_to_keep_them(tmp_path):
    saved = benchmark(record()) | {"stats": {"median": 1.0}}
    with pytest.raises(UsageError, match="--benchmark-save-data"):
        read(written(tmp_path, saved))


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"benchmarks": 1}', '{"benchmarks": [{}]}', '{"benchmarks": [[]]}', "nothing"]
)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "b.json"
    file.write_text(content)
    with pytest.raises(UsageError) as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_metrics_follow_from_the_record():
    found = metrics(record(seconds=2.0))
    one = record().scenario
    assert found["samples_per_second"] == one.instances / 2
    assert found["milliseconds_per_minibatch"] == 2000 / one.minibatches
    assert found["gpu_utilisation"] is None
    assert found["joules_per_sample"] is None
    assert metrics(record(seconds=None))["samples_per_second"] is None


def test_gpu_metrics_are_those_of_the_gpus_that_the_case_ran_on():
    def gpu(use, used=True):
        return types.SimpleNamespace(mean_utilisation=use, used=used)

    def seen(*gpus, energy_joules=None):
        telemetry = types.SimpleNamespace(gpus=gpus, energy_joules=energy_joules)
        facts = {name: getattr(record(), name) for name in Record.__struct_fields__}
        return metrics(types.SimpleNamespace(**{**facts, "telemetry": telemetry}))

    assert seen(gpu(0.5), gpu(1.0), gpu(0.0, used=False))["gpu_utilisation"] == 0.75
    assert seen(gpu(0.5), gpu(None))["gpu_utilisation"] is None
    assert seen()["gpu_utilisation"] is None
    assert seen(energy_joules=3.0)["joules_per_sample"] == 3.0 / record().instances


def test_the_whole_record_lands_in_extra_info():
    info = extra_info(record())
    assert info[EXTRA_INFO_KEY]["key"] == record().key
    json.dumps(info)
    assert benchmark_json.metrics(record()).items() <= info.items()
