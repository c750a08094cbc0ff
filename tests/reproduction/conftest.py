"""Recipes of the paper's names that train in a second: small MLPs on the digits, as deep as the figures need."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace

import pytest

from albench.harness import case, recipe_file

TINY = """
description = "tiny"
network = "mlp"
dataset = "digits"
hidden_layers = {hidden_layers}
width = 8
bridge_width = 10
batch_size = 128
lanes = 1
epochs = 2
learning_rate = 1e-2
rate_steps = [{{ at = 0.5, factor = 0.1 }}]

[al]

[bp]
"""
DTP = """
[dtp]
rate_steps = []
"""


@pytest.fixture
def tiny_recipes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put tiny recipes in the place of those of the package; returns their directory."""
    directory = tmp_path_factory.mktemp("recipes")
    for name in ("mnist-mlp", "mnist-cnn", "cifar10-mlp", "cifar10-cnn", "cifar100-mlp", "cifar100-cnn"):
        deep = name.endswith("cnn")
        text = TINY.format(hidden_layers=12 if deep else 4) + ("" if deep else DTP)
        (directory / f"{name}.toml").write_text(text)
    files = {file.stem: file for file in directory.iterdir()}
    monkeypatch.setattr(recipe_file, "_shipped", lambda: files)
    # To collect garbage before the clock runs takes longer than these epochs, each time.
    uncollected = SimpleNamespace(collect=lambda: 0, disable=gc.disable, enable=gc.enable)
    monkeypatch.setattr(case, "gc", uncollected)
    return directory
