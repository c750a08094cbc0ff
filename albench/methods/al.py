"""AL: Associated Learning on any of the engines. "fused-compiled" is `fused`, its tick compiled from the start."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch import Tensor

from albench.associated import AssociatedNetwork
from albench.engines import make_engine
from albench.engines.batch import Batch
from albench.methods.flops import associated_flops
from albench.methods.network import folded
from albench.methods.trainer import Trainer, TrainerOptions
from albench.trace import Span


class AssociatedTrainer(Trainer):
    """A folded network and the engine that trains it."""

    def __init__(self, options: TrainerOptions) -> None:
        self._network = folded(options).to(options.device)
        self.device = options.device
        compiled = options.engine == "fused-compiled"
        self._engine = make_engine(
            "fused" if compiled else options.engine,
            self._network,
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            epsilon=options.epsilon,
            distinct_targets=options.distinct_targets,
            lanes=options.lanes,
            lane_kind=options.lane_kind,
            lane_sms=options.lane_sms,
            trace=options.trace,
            compile=True if compiled else "auto",
        )
        self._distinct_targets = options.distinct_targets
        self._one_by_one = options.engine == "serial"
        self.lanes = self._engine.lanes
        self.lane_kind = self._engine.lane_kind
        self.notes = self._engine.notes
        self.components = len(self._network.components)
        self.effective_parameters = sum(p.numel() for p in self._network.effective_parameters())
        self.affiliated_parameters = sum(p.numel() for p in self._network.affiliated_parameters())

    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Train on mini-batches and go back to where the engine began."""
        state = self._engine.state_dict()
        self._engine.fit(batches)
        self._engine.load_state_dict(state)

    def train(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches and return when the pipeline has drained."""
        self._engine.fit(batches)

    def predict(self, x: Tensor) -> Tensor:
        """Return Eq. 8 for x ``[B, …]``."""
        scores: Tensor = self._network(x)
        return scores

    @property
    def network(self) -> AssociatedNetwork:
        """The folded network, with the weights that training has come to."""
        return self._network

    def state_dict(self) -> dict[str, Any]:
        """Return the engine's state, which an engine of any kind can go on from."""
        return cast("dict[str, Any]", self._engine.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, whatever engine it was of."""
        self._engine.load_state_dict(state)

    @property
    def losses(self) -> list[dict[str, float]]:
        """Associated and autoencoder loss of the last mini-batch, one entry a component."""
        return self._engine.losses

    @property
    def spans(self) -> list[Span]:
        """When each task since the warm-up ran; those that are launched as one share start and end."""
        return self._engine.spans

    def flops(self, batch: Batch) -> int:
        """Return the floating-point operations of the matrix products of one task of every component on `batch`."""
        return associated_flops(self._network, batch, distinct_targets=self._distinct_targets)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def task_seconds(self) -> list[float] | None:
        """Return the median seconds of one task of each component; only the serial engine times them undisturbed."""
        if not (self._one_by_one and self._engine.spans):
            return None
        durations: list[list[float]] = [[] for _ in range(self.components or 0)]
        for span in self._engine.spans:
            durations[span.component].append(span.end_seconds - span.start_seconds)
        return [statistics.median(values) for values in durations]


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return an AL trainer."""
    return AssociatedTrainer(options)
