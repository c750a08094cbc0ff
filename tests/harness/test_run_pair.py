"""Two runs read from real files and matched case by case."""

import json

import msgspec
import pytest

from albench.errors import UsageError
from albench.harness.benchmark_json import EXTRA_INFO_KEY
from albench.harness.control import CONTROL
from albench.harness.records import RecordFile
from albench.harness.run_pair import pair_runs, read_run
from tests.harness.test_records import record, scenario


def case(width, seconds, **fields):
    """One record a time of the case of this width; a text instead of a time is why it failed."""
    one = scenario(width=width, **fields.pop("scenario", {}))
    return [
        record(number, key=one.key, scenario=one, seconds=value, **fields)
        if not isinstance(value, str)
        else record(number, key=one.key, scenario=one, seconds=None, status="failed", reason=value, **fields)
        for number, value in enumerate(seconds)
    ]


def write(directory, records):
    with RecordFile(directory) as file:
        for one in records:
            file.append(one)
    return directory


def test_times_are_matched_by_scenario_and_keep_their_order(tmp_path):
    before = write(tmp_path / "a", [*case(8, [3.0, 1.0, 2.0]), *case(9, [5.0])])
    after = write(tmp_path / "b", [*case(9, [6.0, 7.0]), *case(8, [4.0])])
    found = pair_runs(read_run(before), read_run(after / "records.jsonl"))
    assert [(p.before, p.after) for p in found.pairs] == [((3.0, 1.0, 2.0), (4.0,)), ((5.0,), (6.0, 7.0))]
    assert found.pairs[0].key == scenario(width=8).key
    assert "width 8" in found.pairs[0].name
    assert (found.unpaired, found.surroundings, found.left_out) == ((), (), 0)


def test_cases_without_a_time_are_listed_with_the_reason():
    before = [*case(8, [1.0]), *case(9, [1.0]), *case(10, [1.0]), *case(11, ["boom"]), *case(12, ["boom", 2.0])]
    after = [*case(8, [1.0]), *case(9, ["bang", "crash"]), *case(11, [1.0]), *case(12, [1.0]), *case(13, ["a"])]
    found = pair_runs(before, after)
    told = {one.name.split(", ")[2]: (one.run, one.missing, one.reason) for one in found.unpaired}
    assert told == {
        "width 9": ("B", False, "failed: crash"),
        "width 10": ("B", True, ""),
        "width 11": ("A", False, "failed: boom"),
        "width 13": ("A and B", True, "failed: a"),
    }
    assert [len(p.before) for p in found.pairs] == [1, 1], "one round that failed leaves the others"
    assert [name.split(", ")[2] for name in found.lost(missing=False)] == ["width 9"]
    assert [name.split(", ")[2] for name in found.lost(missing=True)] == ["width 10"]


def test_runs_without_a_case_in_common_are_refused():
    with pytest.raises(UsageError, match=r"no timed case in common \(1 cases in A, 1 in B\)"):
        pair_runs(case(8, [1.0]), case(9, [1.0]))
    with pytest.raises(UsageError, match="no timed case in common"):
        pair_runs([], [])


def test_other_lanes_are_an_objection():
    (found,) = pair_runs(
        case(8, [1.0], lanes=2, lane_kind="cpu-thread"), case(8, [1.0], lanes=1, lane_kind="cpu-thread")
    ).pairs
    assert found.objection == "ran on 2 cpu-threads in A and on 1 cpu-thread in B"


def test_surroundings_are_those_of_the_times():
    found = pair_runs(
        [*case(8, [1.0], environment={"cpu": "x"}), *case(8, ["no"], environment={"cpu": "z"})],
        case(8, [1.0], environment={"cpu": "y"}),
    ).surroundings
    assert [(one.field, one.before, one.after) for one in found] == [("cpu", ("x",), ("y",))]


def test_networks_trained_to_the_end_are_left_out_and_counted():
    to_the_end = {"scenario": {"purpose": "accuracy"}}
    found = pair_runs(
        [*case(8, [1.0]), *case(8, [1.0], **to_the_end)], [*case(8, [1.0]), *case(8, [1.0], **to_the_end)]
    )
    assert (len(found.pairs), found.left_out) == (1, 1)


def test_a_round_that_was_measured_again_counts_once_and_a_control_not_at_all():
    (again,) = case(8, [7.0], attempt=1)
    control = case(8, [0.2], scenario={"purpose": "control"})
    found = pair_runs([*control, *case(8, [9.0, 2.0]), *control, again], [*control, *case(8, [1.0])])
    assert [pair.before for pair in found.pairs] == [(7.0, 2.0)]
    assert (found.unpaired, found.left_out) == ((), 0)


def test_times_taken_off_the_pace_are_counted():
    controls = [record(n, scenario=CONTROL, key=CONTROL.key, seconds=s) for n, s in enumerate([1.0, 1.0, 1.5, 1.0])]
    times = case(8, [1.0, 1.1, 1.2])
    mixed = [one for pair in zip(controls, [*times, None], strict=True) for one in pair if one is not None]
    assert pair_runs(mixed, times).off_pace == (2, 0)
    assert pair_runs(times, mixed).off_pace == (0, 2)


def test_cases_that_a_name_does_not_tell_apart_bear_their_key():
    runs = [*case(8, [1.0]), *case(8, [1.0], scenario={"seed": 1}), *case(9, [1.0])]
    names = [one.name for one in pair_runs(runs, runs).pairs]
    assert len(set(names)) == 3
    assert names[1].endswith(f"({scenario(width=8, seed=1).key})")
    assert "(" not in names[2]


def test_a_file_of_pytest_benchmark_is_a_run(tmp_path):
    (one,) = case(8, [9.0])
    content = {
        "benchmarks": [
            {
                "name": "x",
                "extra_info": {EXTRA_INFO_KEY: msgspec.to_builtins(one)},
                "stats": {"data": [1.0, 1.1, 1.2]},
            }
        ]
    }
    file = tmp_path / "b.json"
    file.write_text(json.dumps(content))
    found = pair_runs(read_run(file), read_run(write(tmp_path / "a", case(8, [2.0]))))
    assert found.pairs[0].before == (1.0, 1.1, 1.2)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.json"])
def test_what_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="nowhere"):
        read_run(tmp_path / name)
