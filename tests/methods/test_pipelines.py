"""GPipe, 1F1B, interleaved 1F1B and zero bubble: they train what back-propagation with the same microbatches trains."""

import pytest
import torch
from torch.nn import functional as F

from albench.analysis.bubble import replayed_actions
from albench.errors import UsageError
from albench.methods.network import twin
from albench.methods.pipelines import SCHEDULES, PipelineTrainer, stages_of
from albench.methods.trainer import TrainerOptions
from albench.process import forkserver
from tests.engines.made_up import CLASSES, FEATURES, batches

pytestmark = pytest.mark.timeout(120)

forkserver("albench.methods.pipelines")


def options(**changes):
    given = {
        "engine": "ranks",
        "in_features": FEATURES,
        "classes": CLASSES,
        "width": 9,
        "hidden_layers": 6,
        "lanes": 2,
        "microbatches": 4,
        "learning_rate": 1e-2,
        "seed": 3,
    }
    return TrainerOptions(**given | changes)


def microbatched(given, data):
    """Train the twin in this process, with the same microbatches; return it with the gradients of the last step."""
    network = twin(given)
    optimizer = torch.optim.Adam(network.parameters(), lr=given.learning_rate, fused=True)
    for x, y in data:
        optimizer.zero_grad()
        for x_part, y_part in zip(x.chunk(given.microbatches), y.chunk(given.microbatches), strict=True):
            F.cross_entropy(network(x_part), y_part).backward()
        for parameter in network.parameters():
            parameter.grad /= given.microbatches
        optimizer.step()
    return network


@pytest.mark.parametrize("lanes", [2, 3])
@pytest.mark.parametrize("method", SCHEDULES)
def test_gradients_and_weights_are_those_of_one_process(method, lanes):
    """The gradient of the first step to the last bit, parameter by parameter; and the weights after 20 steps."""
    given = options(dtype=torch.float64, lanes=lanes, microbatches=2 * lanes)
    data = [(x.double(), y) for x, y in batches(20, batch_size=8 * lanes)]
    trainer = PipelineTrainer(given, method=method)
    try:
        trainer.warm_up(data[5:8])
        trainer.train(data[:1])
        gradients = trainer.team.call("gradients")
        reference = microbatched(given, data[:1])
        assert gradients.keys() == dict(reference.named_parameters()).keys()
        for name, parameter in reference.named_parameters():
            assert torch.equal(gradients[name], parameter.grad), name
        trainer.train(trainer.prepare(data[1:]))
        reference = microbatched(given, data)
        assert trainer.losses[0]["cross-entropy"] == pytest.approx(
            F.cross_entropy(microbatched(given, data[:-1])(data[-1][0]), data[-1][1]).item(), rel=1e-9
        )
        trainer.predict(data[0][0])
        for name, parameter in reference.named_parameters():
            torch.testing.assert_close(trainer.network.get_parameter(name), parameter, rtol=1e-10, atol=1e-10)
    finally:
        trainer.close()


@pytest.mark.parametrize("microbatches", [1, 2, 8])
def test_any_number_of_microbatches(microbatches):
    given = options(microbatches=microbatches, lanes=1)
    data = batches(3, batch_size=16)
    trainer = PipelineTrainer(given, method="gpipe")
    try:
        trainer.train(data)
        torch.testing.assert_close(trainer.predict(data[0][0]), microbatched(given, data)(data[0][0]))
    finally:
        trainer.close()


def test_a_mini_batch_of_another_size_is_refused():
    """Not left to torch, which would end with a connection that was closed."""
    trainer = PipelineTrainer(options(), method="gpipe")
    with pytest.raises(UsageError, match="mini-batch 1 has 12 instances and the first had 16"):
        trainer.train([*batches(1, batch_size=16), *batches(1, batch_size=12)])
    trainer.close()


def test_a_batch_that_microbatches_do_not_divide_is_refused():
    trainer = PipelineTrainer(options(), method="gpipe")
    with pytest.raises(UsageError, match="a mini-batch of 6 cannot be cut into 4 equal microbatches"):
        trainer.train(batches(1, batch_size=6))
    trainer.close()


def test_more_stages_than_layers_are_refused_before_anything_starts():
    with pytest.raises(UsageError, match="8 stages asked for and the network has 7 linear layers"):
        PipelineTrainer(options(lanes=4), method="zero-bubble")


def test_which_stages_a_process_holds():
    assert [stages_of(rank, 3, "loop") for rank in range(3)] == [[0, 3], [1, 4], [2, 5]]
    assert [stages_of(rank, 3, "v") for rank in range(3)] == [[0, 5], [1, 4], [2, 3]]


@pytest.mark.parametrize("method", SCHEDULES)
def test_a_traced_run_trains_the_same_and_tells_every_action_once(method):
    """Forward and backward of every stage on every microbatch, after those that it needs; and an update a process."""
    data = batches(2, batch_size=16)
    weights = []
    for trace in (False, True):
        trainer = PipelineTrainer(options(trace=trace), method=method)
        try:
            trainer.warm_up(data[:1])
            trainer.train(trainer.prepare(data))
            weights.append(trainer.team.call("weights"))
            spans = trainer.spans
            assert trace or spans == []
        finally:
            trainer.close()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    found = {(span.component, span.minibatch, span.action): span for span in spans}
    assert len(found) == len(spans)
    assert len([span for span in spans if span.action == "U"]) == 2 * 2
    for stage in range(trainer.stages):
        for k in range(2):
            for m in range(4):
                forward = found[stage, k, f"F{m}"]
                backward = found.get((stage, k, f"B{m}")) or found[stage, k, f"I{m}"]
                assert forward.end_seconds <= backward.start_seconds
                assert (stage, k, f"I{m}") not in found or (stage, k, f"W{m}") in found
                if stage:
                    assert found[stage - 1, k, f"F{m}"].end_seconds <= forward.start_seconds
                    assert forward.lane != found[stage - 1, k, f"F{m}"].lane or method == "zero-bubble"
    assert len(replayed_actions(spans)) == len(spans)
