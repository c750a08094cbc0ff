"""A case: what its window holds, and that its input pipeline changes the time and nothing else."""

import dataclasses
import types

import pytest

from albench.harness import case
from albench.harness.scenario import Scenario

pytestmark = pytest.mark.timeout(60)

SMALL = Scenario(method="al", engine="serial", hidden_layers=4, width=8, batch_size=8, minibatches=9, purpose="time")


@pytest.mark.parametrize(
    "scenario",
    [SMALL, dataclasses.replace(SMALL, method="bp", engine="eager"), dataclasses.replace(SMALL, engine="threads")],
    ids=lambda one: one.series,
)
def test_the_input_pipeline_gives_the_same_mini_batches(scenario):
    """Training ends at the same losses to the last bit, whether mini-batches lie in memory or are drawn on the way."""
    ready = case.measure(scenario)
    drawn = case.measure(dataclasses.replace(scenario, purpose="input"))
    assert drawn.losses == ready.losses
    assert drawn.accuracy == ready.accuracy
    assert drawn.flops_per_minibatch == ready.flops_per_minibatch


@pytest.mark.parametrize("purpose", ["time", "input"])
def test_only_the_input_pipeline_draws_inside_the_window(monkeypatch, purpose):
    """What is timed as data in memory must read nothing, and what is timed with its input must read everything."""
    drawn, inside = [], []
    stream = case.Dataset.stream
    time_training = case.time_training

    def counting(self, **options):
        for batch in stream(self, **options):
            drawn.append(batch)
            yield batch

    def watched(*arguments):
        before = len(drawn)
        window = time_training(*arguments)
        inside.append(len(drawn) - before)
        return window

    monkeypatch.setattr(case.Dataset, "stream", counting)
    monkeypatch.setattr(case, "time_training", watched)
    case.measure(dataclasses.replace(SMALL, purpose=purpose))
    assert inside == [9 if purpose == "input" else 0]


@pytest.mark.parametrize(
    ("minibatches", "batch_size", "instances", "ends"),
    [
        (6, 10, 20, [2, 4, 6]),
        (7, 10, 25, [3, 5, 7]),  # an epoch ends in the middle of a mini-batch, and the last one is not whole
        (3, 10, 90, [3]),
        (2, 90, 20, [1, 2]),  # a mini-batch of several epochs
    ],
)
def test_training_to_the_end_is_looked_at_after_every_epoch(minibatches, batch_size, instances, ends):
    scenario = dataclasses.replace(SMALL, minibatches=minibatches, batch_size=batch_size)
    assert case.epoch_ends(dataclasses.replace(scenario, purpose="accuracy"), instances) == ends
    assert case.epoch_ends(scenario, instances) == [minibatches]


@pytest.mark.parametrize(
    ("method", "engine"), [("al", "serial"), ("al", "threads"), ("al", "fused"), ("bp", "eager"), ("gpipe", "ranks")]
)
def test_a_learning_curve_ends_where_the_run_does_and_changes_nothing(method, engine):
    """Stopping to look must leave the training as it was: the bits are those of a run in one go."""
    lanes = 2 if engine in ("threads", "ranks") else 1
    in_one = dataclasses.replace(
        SMALL,
        method=method,
        engine=engine,
        lanes=lanes,
        batch_size=100,
        minibatches=36,
        microbatches=lanes if method == "gpipe" else 1,
    )
    looked_at = case.measure(dataclasses.replace(in_one, purpose="accuracy"))
    straight = case.measure(in_one)
    assert straight.learning_curve is None
    assert looked_at.losses == straight.losses
    assert looked_at.accuracy == straight.accuracy
    curve = looked_at.learning_curve
    assert [one.instances for one in curve] == [1500, 2900, 3600]
    assert curve[-1].accuracy == looked_at.accuracy
    assert 0 < curve[0].seconds < curve[1].seconds < curve[2].seconds == looked_at.seconds
    assert looked_at.seconds < looked_at.window_end_seconds - looked_at.window_start_seconds  # looking is not timed


def test_the_device_is_waited_for_at_both_ends_of_the_window(monkeypatch):
    """Launches return at once on a GPU: without the first wait a window holds what came before, without the second
    it ends before its work does."""
    told = []
    monkeypatch.setattr(case.torch.cuda, "synchronize", lambda: told.append("wait"))
    monkeypatch.setattr(case.time, "perf_counter", lambda: told.append("clock") or float(len(told)))
    trainer = types.SimpleNamespace(train=lambda batches: told.append("train"))
    window = case.time_training(trainer, [], "cuda")
    assert told == ["wait", "clock", "train", "wait", "clock"]
    assert window == (2.0, 5.0)


@pytest.mark.parametrize(
    ("lane_kind", "replicas", "count"),
    [("process", 1, 2), ("gpu", 1, 2), ("cuda-stream", 1, 1), ("cpu-thread", 3, 3), ("gpu", 3, 4)],
)
def test_energy_is_that_of_every_gpu_that_lanes_are_on(monkeypatch, lane_kind, replicas, count):
    """Copies are on GPUs of their own; the last case asks for more than there are."""
    monkeypatch.setattr(case.torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(case.torch.cuda, "get_device_properties", lambda i: types.SimpleNamespace(uuid=f"GPU-{i}"))
    trainer = types.SimpleNamespace(device="cuda", lanes=2, lane_kind=lane_kind)
    assert case.gpu_uuids(trainer, replicas) == [f"GPU-{i}" for i in range(count)]
