"""A case: what its window holds, and that its input pipeline changes the time and nothing else."""

import dataclasses

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
