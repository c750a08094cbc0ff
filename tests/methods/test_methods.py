"""The methods: all learn, and all look at their mini-batches in the same way."""

import pytest
import torch
from torch.nn import functional as F

from albench.errors import UsageError
from albench.methods import FOLDED, METHODS, make_trainer
from albench.methods.trainer import TrainerOptions, accuracy_over
from tests.engines.made_up import CLASSES, FEATURES


def options(**changes):
    return TrainerOptions(
        **{"engine": "eager", "in_features": FEATURES, "classes": CLASSES, "width": 9, "hidden_layers": 4} | changes
    )


@pytest.mark.parametrize(
    ("method", "engine"),
    [
        (name, engine)
        for name, method in METHODS.items()
        for engine in method.engines
        # test_bp.py compiles, which takes its time; the idle method trains nothing
        if engine not in method.cuda_engines and engine != "compiled" and name != "idle"
    ],
)
def test_every_method_on_every_engine_learns(method, engine):
    """The label is written into the input: whoever trains at all gets it right, and thread counts are put back."""
    generator = torch.Generator().manual_seed(0)
    data = []
    for _ in range(200):
        y = torch.randint(CLASSES, (16,), generator=generator)
        x = 0.1 * torch.randn(16, FEATURES, generator=generator)
        x[torch.arange(16), y] += 1
        data.append((x, y))
    before = torch.get_num_threads()
    cut = {"microbatches": 4} if METHODS[method].microbatches else {}
    copies = {"replicas": 2} if method == "al-ddp" else {}
    given = options(engine=engine, hidden_layers=4, width=24, learning_rate=1e-2, lanes=2, **cut, **copies)
    trainer = make_trainer(method, given)
    trainer.train(data)
    assert torch.get_num_threads() == before
    x, y = data[0]
    assert accuracy_over(trainer, [(x, y)]) == 1.0
    assert trainer.effective_parameters > 0
    assert (trainer.affiliated_parameters > 0) == (method in (*FOLDED, "dtp")), "AL's g and bridges, DTP's feedback"
    assert trainer.losses
    trainer.close()


def test_accuracy_counts_in_parts():
    class Always:
        def predict(self, x):
            return F.one_hot(torch.ones(len(x), dtype=torch.int64), 3)

    y = torch.tensor([1, 1, 0, 1, 2])
    assert accuracy_over(Always(), zip(torch.zeros(5, 2).split(2), y.split(2), strict=True)) == pytest.approx(0.6)


def test_bp_looks_at_its_input_as_al_does():
    with pytest.raises(UsageError, match="label 99"):
        make_trainer("bp", options()).train([(torch.zeros(2, FEATURES), torch.tensor([0, 99]))])


@pytest.mark.parametrize(
    ("method", "engine"), [(name, engine) for name, method in METHODS.items() for engine in method.cuda_engines]
)
def test_engines_of_a_cuda_device_refuse_a_network_on_the_cpu(method, engine):
    with pytest.raises(UsageError, match=f"engine '{engine}' runs on a CUDA device"):
        make_trainer(method, options(engine=engine))


def test_unknown_methods_are_refused_with_the_nearest_names():
    with pytest.raises(UsageError, match="did you mean 'bp'"):
        make_trainer("bpp", options())
