"""Trainer: what every method looks like to the harness."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from albench.engines.batch import Batch
from albench.machine import LaneKind
from albench.trace import Span


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """The network and how to train it."""

    engine: str
    in_features: int
    classes: int
    width: int
    hidden_layers: int
    bridge_width: int | None = None
    lanes: int = 1
    learning_rate: float = 1e-3
    distinct_targets: bool | Literal["auto"] = "auto"
    dtype: torch.dtype = torch.float32
    seed: int = 0
    trace: bool = False
    """Keep a span a task, or a step, where `albench.methods.span_unit` says that the method has such."""
    microbatches: int = 1
    """M, microbatches that a mini-batch is cut into, where the method does that."""
    replicas: int = 1
    """Copies of the network that train on a share of each mini-batch, where the method does that."""
    device: str = "cpu"
    """Where the network is and the mini-batches come from: "cpu" or "cuda"."""
    lane_kind: LaneKind = "stream"
    """What a lane of one GPU is, where the method has lanes there."""
    lane_sms: int | None = None
    """Multiprocessors of each share; None: as many as an even split gives."""


class Trainer(ABC):
    """A freshly initialised network of one method, ready to train."""

    lanes: int
    """Lanes that really run."""
    lane_kind: str
    """What a lane is."""
    components: int | None
    """Components with a local objective; None where there is only one objective."""
    effective_parameters: int
    """Parameters that a prediction uses."""
    affiliated_parameters: int
    """Parameters that serve training only."""
    device: str = "cpu"
    """Where `predict` takes its x."""
    notes: Sequence[str] = ()
    """What a reader of the record should know."""

    def prepare(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return mini-batches as `train` takes them without moving data: called once, outside the timed window.

        Any sequence of mini-batches can be trained on without this; a method whose processes are elsewhere then sends
        them as it trains.
        """
        return batches

    @abstractmethod
    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Train on mini-batches and be as freshly made again, so that nothing later happens for the first time."""

    @abstractmethod
    def train(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches and return when every update is done."""

    @abstractmethod
    def predict(self, x: Tensor) -> Tensor:
        """Return scores ``[B, classes]`` for x ``[B, …]``; the largest is the predicted class."""

    @property
    @abstractmethod
    def losses(self) -> list[dict[str, float]]:
        """The losses of the last mini-batch, one entry a component (one in all for BP)."""

    @property
    def spans(self) -> list[Span]:
        """When each task or step since the warm-up ran, where the options ask for a trace and the method has one."""
        return []

    def flops(self, batch: Batch) -> int | None:  # noqa: ARG002 - for those that count
        """Return the floating-point operations of the matrix products of one step on `batch`; None: not counted.

        Forward and backward pass as this method runs them, on a copy: training is left as it was.
        """
        return None

    def close(self) -> None:  # noqa: B027 - most trainers hold nothing
        """Give back what the trainer holds."""

    def task_seconds(self) -> list[float] | None:
        """Return the median seconds of one task of each component, where tasks were traced one by one."""
        return None


def accuracy(trainer: Trainer, x: Tensor, y: Tensor, *, chunk: int = 1024) -> float:
    """Return the share of x ``[n, …]`` whose label y ``[n]`` the trainer predicts, in [0, 1]."""
    right = 0
    with torch.no_grad():
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            right += int((trainer.predict(x[rows]).argmax(1) == y[rows]).sum())
    return right / len(x)
