"""Projections: what they are made from, what they refuse to be made from, and how far they say that they are off."""

import dataclasses
from statistics import median

import pytest

from albench.analysis.link import Link
from albench.analysis.projection import TURNS, on_lanes
from albench.errors import UsageError
from albench.harness.scenario import Scenario
from albench.report.projection_checks import deviations_of
from albench.report.projection_sources import sources_of
from albench.report.projections import ProjectionOptions, projections_of

from . import made_up

TASKS = [0.5, 1.0, 1.5, 1.0]
"""Milliseconds of AL's tasks: 4.0 in all."""
BP_MS = 3.0


def record(method, engine, milliseconds, **fields):
    """Return a record that took so many milliseconds a mini-batch; scenario and record fields by name."""
    names = {field.name for field in dataclasses.fields(Scenario)}
    changes = {name: value for name, value in fields.items() if name in names}
    others = {name: value for name, value in fields.items() if name not in names}
    sizes = {"hidden_layers": 8, "width": 64, "batch_size": 32, "minibatches": 100}
    scenario = Scenario(method=method, engine=engine, **(sizes | changes))
    lanes = {"lanes": scenario.lanes} if method != "al" else {}
    return made_up.record(scenario, seconds=milliseconds * scenario.minibatches / 1e3, **(lanes | others))


def al_serial(**fields):
    return record("al", "serial", sum(TASKS), **({"task_seconds": [t / 1e3 for t in TASKS]} | fields))


def bp(milliseconds=BP_MS, **fields):
    return record("bp", "eager", milliseconds, **fields)


def project(*records, **options):
    return projections_of(list(records), ProjectionOptions(**options))


def curve(projection, method, microbatches=None):
    (found,) = [c for c in projection.curves if (c.method, c.microbatches) == (method, microbatches)]
    return found


def test_al_is_its_tasks_replayed_and_stops_where_its_components_do():
    (one,) = project(al_serial(), bp())
    al = curve(one, "al")
    assert sorted(al.points) == [1, 2, 4]
    for lanes, point in al.points.items():
        assert point == on_lanes([t / 1e3 for t in TASKS], 100, lanes)
    assert al.points[4].seconds == pytest.approx((4.0 + 99 * 1.5) / 1e3)
    assert one.speed(al.points[4].seconds) == pytest.approx(BP_MS * 100 / (4.0 + 99 * 1.5))
    assert "4 components" in al.end
    assert curve(one, "bp").points.keys() == {1}


def test_task_times_are_medians_of_all_rounds():
    rounds = [al_serial(round=i, task_seconds=[t * f / 1e3 for t in TASKS]) for i, f in enumerate([1, 2, 9])]
    (one,) = project(*rounds, bp(), lanes=(1,))
    assert curve(one, "al").points[1].seconds == pytest.approx(100 * 2 * 4.0 / 1e3)


def test_a_link_costs_and_is_named_among_what_is_taken_for_granted():
    (one,) = project(al_serial(), bp(), lanes=(4,), link=Link(latency_seconds=1e-3, bytes_per_second=1e9))
    assert curve(one, "al").points[4].seconds == pytest.approx((4 + 99 * 1.5 + 3) / 1e3 + 3 * 2 * 32 * 64 * 4 / 1e9)
    assert any("1 000 µs of latency and 1.00 GB/s" in s.replace("\u202f", " ") for s in one.assumptions)
    (free,) = project(al_serial(), bp(), lanes=(4,))
    assert any("lower bound" in sentence for sentence in free.assumptions)


def test_a_deeper_network_repeats_inner_components_and_says_so():
    (one,) = project(al_serial(), bp(hidden_layers=2, milliseconds=1.2), bp(), components=64, lanes=(64,))
    assert one.hidden_layers == 128
    assert one.deepened
    al = curve(one, "al").points[64]
    assert al.busy_seconds == pytest.approx(100 * (0.5 + 62 * 1.25 + 1.0) / 1e3)
    # BP on the line through 1.2 ms at ℓ = 2 and 3 ms at ℓ = 8
    assert one.reference_seconds == pytest.approx((0.6 + 0.3 * 128) / 1e3)
    assert any("128 hidden layers and the one that was measured 8" in sentence for sentence in one.assumptions)
    assert any("on the line through its times at ℓ = 2, 8" in sentence for sentence in one.assumptions)
    assert one.shown == ()


@pytest.mark.parametrize(
    ("width", "bridge_width", "parameters", "flops"),
    [(1024, None, 7_424_010, 11_357_126_656), (512, 2560, 4_238_858, 6_483_869_696)],
)
def test_inputs_and_classes_are_told_by_parameters_and_operations(width, bridge_width, parameters, flops):
    """In no record, yet in each of BP: these are two of the digits (64 inputs, 10 classes), ℓ = 8, 256 instances."""
    sizes = {"width": width, "bridge_width": bridge_width, "batch_size": 256}
    (one,) = sources_of([bp(effective_parameters=parameters, flops_per_minibatch=flops, **sizes)])
    layers = one.layers(8)
    assert (layers[0], layers[-1]) == ((64, width), (width, 10))
    assert len(layers) == (9 if bridge_width is None else 10)
    assert sum(layer.weights + layer.outputs for layer in layers) == parameters
    (unknown,) = sources_of([bp(effective_parameters=parameters, **sizes)])
    assert unknown.layers(8)[0].inputs == unknown.layers(8)[-1].outputs == width
    (said,) = project(bp(effective_parameters=parameters, **sizes), lanes=(1,))
    assert any("neither inputs nor classes" in sentence for sentence in said.assumptions)


def test_of_a_network_of_feature_maps_al_is_projected_and_pipelines_which_cut_the_mlp_are_not():
    records = (al_serial(network="cnn", dataset="cifar10"), bp(network="cnn", dataset="cifar10"))
    (one,) = project(*records)
    assert one.methods == ("al", "bp")
    assert "pipelines of BP: they cut the MLP only, and this is cnn" in one.missing
    with pytest.raises(UsageError, match="depth of network 'cnn' is fixed, leave components out"):
        project(*records, components=8)
    with pytest.raises(UsageError, match="no record tells how large the feature maps are that network 'cnn' hands on"):
        project(*records, link=Link(latency_seconds=1e-5))


def test_times_of_several_machines_are_said_to_be_taken_for_those_of_one():
    other = made_up.ENVIRONMENT | {"cpu": "Another CPU"}
    (one,) = project(al_serial(), bp(environment=other))
    words = "Times of 2 machines are taken for those of one: Made-up CPU, 2 cores; Another CPU, 2 cores."
    assert words in one.assumptions
    (alone,) = project(al_serial(), bp())
    assert not any("machines" in sentence for sentence in alone.assumptions)


def one_lane_ms(projection, method, microbatches):
    return 1e3 * curve(projection, method, microbatches).points[1].busy_seconds / projection.minibatches


def test_microbatches_in_proportion_are_a_bound_and_marked_as_one():
    (one,) = project(al_serial(), bp())
    for method in TURNS:
        for m in (4, 8, 32):
            assert curve(one, method, m).is_bound
            assert one_lane_ms(one, method, m) == pytest.approx(BP_MS)
        assert not curve(one, method, 1).is_bound
    assert any("as if small matrix products were as efficient as large ones" in s for s in one.assumptions)


def test_a_smaller_batch_that_was_measured_is_better_than_proportion():
    (small, one) = project(al_serial(), bp(), bp(1.0, batch_size=8))
    assert small.work.batch_size == 8
    assert one_lane_ms(one, "gpipe", 4) == pytest.approx(4 * 1.0)
    assert not curve(one, "gpipe", 4).is_bound
    # What is only a bound would win over it, and is left out.
    assert [c.microbatches for c in one.curves if c.method == "gpipe"] == [1, 4]
    assert any(s.startswith("GPipe with M = 8, 32: no time of so small a microbatch") for s in one.missing)


def test_a_pipeline_on_one_lane_is_better_still():
    alone = record("gpipe", "ranks", 5.0, lanes=1, microbatches=4)
    (_, one) = project(al_serial(), bp(), bp(1.0, batch_size=8), alone)
    assert one_lane_ms(one, "gpipe", 4) == pytest.approx(5.0)
    assert one_lane_ms(one, "1f1b", 4) == pytest.approx(5.0), "on one lane every schedule does the same"


def two_lanes(milliseconds=4.5, **fields):
    return record("gpipe", "ranks", milliseconds, **({"lanes": 2, "microbatches": 4} | fields))


def test_what_a_pipeline_took_on_few_lanes_is_met_there():
    (one,) = project(al_serial(), bp(), two_lanes())
    gpipe = curve(one, "gpipe", 4)
    assert gpipe.points[2].seconds == pytest.approx(100 * 4.5 / 1e3)
    assert not gpipe.is_bound
    assert any("on 2 lanes, less the waiting of its schedule: GPipe with M = 4" in s for s in one.assumptions)


def test_no_check_is_an_echo_of_what_it_is_compared_with(monkeypatch):
    monkeypatch.setitem(made_up.ENVIRONMENT, "usable_cores", 4)
    (one,) = project(al_serial(), bp(), two_lanes(), record("gpipe", "ranks", 3.3, lanes=4, microbatches=4))
    errors = {check.lanes: check.error for check in one.checks if check.method == "gpipe"}
    in_proportion = curve(project(al_serial(), bp())[0], "gpipe", 4)
    assert errors[2] == pytest.approx(1e3 * in_proportion.points[2].seconds / 100 / 4.5 - 1)
    from_two = curve(one, "gpipe", 4).points[4].seconds
    assert errors[4] == pytest.approx(1e3 * from_two / 100 / 3.3 - 1)


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(made_up, "ENVIRONMENT", made_up.ENVIRONMENT | {"usable_cores": 2})


def al_threads(milliseconds, lanes=2, **fields):
    return record("al", "threads", milliseconds, lanes=lanes, **fields)


def test_both_sides_come_from_the_same_lanes():
    """Where pipelines are taken from lanes that shared a machine, AL is too; else neither is."""
    projected_ms = 10 * on_lanes(TASKS, 100, 2).seconds / 1e3  # a hundredth of the whole
    (apart,) = project(al_serial(), bp(), al_threads(2 * projected_ms))
    assert 1e3 * curve(apart, "al").points[2].seconds / 100 == pytest.approx(projected_ms)
    (together,) = project(al_serial(), bp(), al_threads(2 * projected_ms), two_lanes())
    assert 1e3 * curve(together, "al").points[2].seconds / 100 == pytest.approx(2 * projected_ms)
    assert any("times 2.00, with which they take as long as measured on 2 lanes" in s for s in together.assumptions)
    for one in (apart, together):
        (check,) = [check for check in one.checks if check.engine == "threads"]
        assert check.error == pytest.approx(-0.5), "the error is that of what one lane says"


def test_errors_are_told_by_method():
    (one,) = project(al_serial(), bp(), al_threads(3.0), two_lanes())
    found = {deviation.method: deviation for deviation in deviations_of(one.checks)}
    assert found["al"].cases == 2
    own = [check.error for check in one.checks if check.method == "al"]
    assert found["al"].median_error == pytest.approx(median(map(abs, own)))
    assert found["al"].worst_error == max(own, key=abs)


def test_more_lanes_than_cores_are_not_compared():
    (one,) = project(al_serial(), bp(), al_threads(1.6, lanes=4), al_threads(2.1))
    assert [check.lanes for check in one.checks] == [1, 2]


def test_streams_of_one_gpu_are_not_compared_and_equal_shares_are():
    gpu = {"device": "cuda"}
    share = gpu | {"lane_kind": "sm-share", "lane_sms": 8}
    shares, whole = project(
        record("bp", "graph", 1.0, **gpu),
        record("gpipe", "graph", 1.0, lanes=2, microbatches=4, **gpu),
        record("bp", "graph", 2.0, **share),
        record("gpipe", "graph", 2.0, lanes=2, microbatches=4, **share),
    )
    assert whole.lane == "a whole GPU"
    assert whole.checks == ()
    assert [check.lanes for check in shares.checks] == [2]
    assert shares.lane == "a share of 8 multiprocessors"
    assert whole.title != shares.title


def test_one_projection_a_network_and_batch_size():
    found = project(al_serial(), bp(), al_serial(width=16), bp(width=16), al_serial(batch_size=16), bp(batch_size=16))
    assert [(one.work.width, one.work.batch_size) for one in found] == [(16, 32), (64, 16), (64, 32)]
    assert len({one.title for one in found}) == 3


def test_without_al_pipelines_are_projected_and_al_is_said_to_be_missing():
    (one,) = project(bp())
    assert "al" not in one.methods
    assert any(s.startswith("AL: no record has the time of a task at ℓ = 8") for s in one.missing)


def test_without_bp_al_is_projected_against_itself():
    (one,) = project(al_serial())
    assert one.methods == ("al",)
    assert one.speed(curve(one, "al").points[1].seconds) == pytest.approx(1.0)
    assert "pipelines of BP: no time of BP eager on one lane" in one.missing


def test_a_zero_bubble_schedule_is_said_not_to_be_projected():
    (one,) = project(bp(), record("zero-bubble", "ranks", 3.0, lanes=2, microbatches=4))
    assert any(s.startswith("Zero bubble: ") for s in one.missing)


def test_al_on_one_lane_stands_in_for_task_times_on_a_gpu():
    gpu = {"device": "cuda"}
    (one,) = project(record("al", "graph", 4.0, components=4, **gpu), record("bp", "graph", 3.0, **gpu), lanes=(4,))
    assert curve(one, "al").points[4].seconds == pytest.approx((4.0 + 99 * 1.0) / 1e3)
    assert any("spread evenly over the components" in sentence for sentence in one.assumptions)


def test_what_was_not_measured_in_time_is_no_source():
    """Neither trained networks nor controls, nor cases that failed."""
    for one in (bp(purpose="control"), bp(purpose="accuracy"), made_up.failed()):
        with pytest.raises(UsageError, match="no time of a task, .* to project from: measure some"):
            project(one)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lanes": (1, 0)}, "lanes is 0"),
        ({"lanes": ()}, "no lanes given"),
        ({"microbatches": (-1,)}, "microbatches is -1"),
        ({"components": 2**20}, "components is 1048576: give a whole number of at most"),
        ({"components": 2}, "components is 2 and there are task times of 4"),
        ({"minibatches": 0}, "mini-batches is 0"),
        ({"hidden_layers": 6}, "hidden layers is 6: no network of that depth was measured, give 8"),
    ],
)
def test_what_cannot_be_projected_onto_is_refused_in_one_line(options, words):
    with pytest.raises(UsageError, match=words) as caught:
        project(al_serial(), bp(), **options)
    assert "\n" not in str(caught.value)


def test_microbatches_that_do_not_divide_a_batch_are_left_out_with_the_reason():
    (one,) = project(al_serial(), bp(), microbatches=(3, 4))
    assert [c.microbatches for c in one.curves if c.method == "gpipe"] == [4]
    assert any(s == "GPipe with M = 3: a batch of 32 does not divide so" for s in one.missing)
