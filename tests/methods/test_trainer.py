"""What every trainer offers beside training: the network that predicts, and accuracy over whole sets."""

import pytest
import torch

from albench.methods import make_trainer
from albench.methods.trainer import TrainerOptions, accuracy_over
from albench.prediction import frozen_view
from tests.engines.made_up import CLASSES, FEATURES, batches

pytestmark = pytest.mark.timeout(120)
SIZES = {"in_features": FEATURES, "classes": CLASSES, "width": 9, "hidden_layers": 4, "learning_rate": 0.01}


def made(method, engine, **changes):
    return make_trainer(method, TrainerOptions(**SIZES | {"engine": engine} | changes))


@pytest.mark.parametrize(
    ("method", "engine", "lanes"), [("al", "serial", 1), ("al", "threads", 2), ("bp", "eager", 1), ("ddp", "ranks", 2)]
)
def test_the_network_of_this_process_predicts(method, engine, lanes):
    """With the weights that training has come to, wherever it happened."""
    trainer = made(method, engine, lanes=lanes)
    x, _ = batches(1)[0]
    try:
        before = frozen_view(trainer.network)(x).detach().clone()
        trainer.train(batches(4))
        after = frozen_view(trainer.network)(x)
        assert not torch.equal(before, after)
        assert torch.equal(after, trainer.predict(x))
    finally:
        trainer.close()


def test_accuracy_is_of_all_instances_however_they_come():
    trainer = made("bp", "eager")
    trainer.train(batches(20))
    data = batches(7, ragged=3, seed=5)
    x, y = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    right = (trainer.predict(x).argmax(1) == y).float().mean().item()
    assert 0 < right < 1, "else a mean over mini-batches would be the same"
    assert accuracy_over(trainer, data) == pytest.approx(right)
    assert accuracy_over(trainer, zip(x.split(7), y.split(7), strict=True)) == pytest.approx(right)
    assert accuracy_over(trainer, []) is None


@pytest.mark.parametrize("method", ["al", "bp"])
def test_a_prediction_moves_no_running_statistics_and_leaves_training_as_it_was(method):
    """Accuracy is looked at between epochs: a run that nobody looks at must end at the same bits."""
    images = {"network": "resnet20", "input_shape": (3, 8, 8), "in_features": 192, "hidden_layers": 8, "width": 5}
    generator = torch.Generator().manual_seed(2)
    data = [
        (torch.randn(4, 3, 8, 8, generator=generator), torch.randint(CLASSES, (4,), generator=generator))
        for _ in range(4)
    ]
    states = []
    for looked_at in (False, True):
        trainer = made(method, {"al": "serial", "bp": "eager"}[method], **images)
        for batch in data:
            trainer.train([batch])
            if looked_at:
                trainer.predict(data[0][0])
                assert trainer.network.training, "the next update needs the mini-batch's own statistics"
        states.append(trainer.network.state_dict())
    assert states[0].keys() == states[1].keys()
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    assert any(name.endswith("running_var") for name in states[0])
