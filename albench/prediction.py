"""Prediction: a network as it is used where nothing is to be learned.

While a task trains, BatchNorm normalises by the mini-batch and moves its running statistics, and dropout drops. A
prediction must use the statistics as they stand, change none, and drop nothing. torch's way is ``network.eval()``
before and ``network.train()`` after. But whoever predicts from inside the source of mini-batches, say to print an
accuracy now and then, does so while lanes are at work on the same modules, and would switch them in mid-task. So a
prediction goes through a *view*: modules in evaluation mode on the parameters and buffers of those that train.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_view(module: Module) -> Module:
    """Return `module` as a prediction uses it: in evaluation mode, on the same parameters and buffers.

    The module itself and its parts keep their modes. Where all of them are in evaluation mode already, it is returned
    as it is. A view is made to be used at once: parts that are exchanged later are not seen in it. A ``forward`` that
    was put on one module, rather than on its class, is bound to that module and goes by that one's mode.
    """
    return _view(module) if any(part.training for part in module.modules()) else module


def _view(module: Module) -> Module:
    # Not copy.copy(), which asks a parametrized module for its state, and that refuses.
    view: Module = object.__new__(type(module))
    vars(view).update(vars(module))
    view.training = False
    parts = module._modules.items()
    view._modules = {name: None if part is None else _view(part) for name, part in parts}
    return view
