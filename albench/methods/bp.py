"""BP: back-propagation through the twin network, eager, on one process and K intra-op threads.

The step that a user would write: softmax cross-entropy, backward, one fused Adam over all parameters. K threads share
each operator's work, which is the other way to use the hardware that AL uses for K lanes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from albench.engines.batch import Batch, check_batch
from albench.engines.engine import intra_op_threads
from albench.methods.trainer import Trainer, TrainerOptions
from albench.networks import mlp


class BackPropagationTrainer(Trainer):
    """An MLP of the same depth and width as AL's prediction path, trained end to end."""

    lane_kind = "intra-op-thread"
    components = None
    affiliated_parameters = 0

    def __init__(self, options: TrainerOptions) -> None:
        self._network = mlp(
            in_features=options.in_features,
            width=options.width,
            hidden_layers=options.hidden_layers,
            classes=options.classes,
            bridge_width=options.bridge_width,
            seed=options.seed,
        ).to(options.dtype)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=options.learning_rate, fused=True)
        self._classes = options.classes
        self._minibatches_seen = 0
        self._last_loss: Tensor | None = None
        self.lanes = options.lanes
        self.effective_parameters = sum(p.numel() for p in self._network.parameters())

    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Train on mini-batches and go back to the first weights."""
        weights = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        optimizer = self._optimizer.state_dict()
        self.train(batches)
        self._network.load_state_dict(weights)
        self._optimizer.load_state_dict(optimizer)
        self._minibatches_seen = 0

    def train(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches, one step each."""
        like = next(self._network.parameters())
        with intra_op_threads(self.lanes):
            for batch in batches:
                # The same look at the input that AL's engines take, so that neither has the shorter way.
                x, y = check_batch(batch, minibatch=self._minibatches_seen, classes=self._classes, like=like)
                loss = F.cross_entropy(self._network(x), y)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                self._optimizer.step()
                self._last_loss = loss
                self._minibatches_seen += 1

    def predict(self, x: Tensor) -> Tensor:
        """Return the logits for x ``[B, …]``."""
        logits: Tensor = self._network(x)
        return logits

    @property
    def losses(self) -> list[dict[str, float]]:
        """The cross-entropy of the last mini-batch."""
        return [{"cross-entropy": self._last_loss.item()}] if self._last_loss is not None else []


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return a BP trainer."""
    return BackPropagationTrainer(options)
