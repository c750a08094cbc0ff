"""`albench train`: what it asks of the data and of the method."""

import types

import pytest
from rich.console import Console

from albench.data.dataset import Dataset
from albench.harness import training
from tests.harness.test_training_launched import recipe


class AskedError(Exception):
    """The data was asked for mini-batches."""


def test_mini_batches_are_on_the_device_of_the_network(monkeypatch):
    """Methods refuse others: training on a GPU would end with its first mini-batch."""

    def stream(_dataset, **wanted):
        raise AskedError(wanted["device"])

    monkeypatch.setattr(Dataset, "stream", stream)
    monkeypatch.setattr(training, "make_trainer", lambda *_: types.SimpleNamespace(notes=[], close=lambda: None))
    with pytest.raises(AskedError, match="cuda"):
        training.train(recipe(method="bp", device="cuda"), data_dir=None, console=Console(quiet=True), plain=True)
