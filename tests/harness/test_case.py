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
