"""Trainer: what every method looks like to the harness."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from albench.decay import Decayed
from albench.engines.batch import Batch
from albench.engines.options import Epsilon, LearningRate
from albench.errors import UsageError
from albench.machine import LaneKind
from albench.networks.spec import BridgeForm
from albench.trace import Span


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """The network and how to train it."""

    engine: str
    in_features: int
    """Numbers in one instance."""
    classes: int
    width: int
    hidden_layers: int
    bridge_width: int | None = None
    network: str = "mlp"
    """Kind of network; `albench.networks.NETWORKS` names them."""
    input_shape: tuple[int, ...] | None = None
    """Shape of one instance, such as (channels, height, width); None: ``(in_features,)``."""
    bridge: BridgeForm = "flat"
    """How AL's bridges read feature maps, and so the first dense layer of the BP twin."""
    initial_scale: float = 1.0
    """Deviation of the initial weights of AL's sigmoid layers, in He's."""
    lanes: int = 1
    learning_rate: LearningRate = 1e-3
    """Base rate, or a function of the mini-batch index k, counted from 0 over all calls of ``train``."""
    weight_decay: float = 0.0
    """L2 penalty, added to the gradient: ``weight_decay``·w for each decayed weight w."""
    decayed: Decayed = "all"
    """Which parameters the penalty is for."""
    epsilon: Epsilon = "torch"
    """Where Adam's ε stands."""
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


NOT_KEPT = "no state is kept of this method"


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
    def network(self) -> nn.Module | None:
        """The network in this process that predicts; None where there is none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what training goes on from, as if it had never stopped: tensors, numbers and strings only.

        Nothing in it changes when training goes on. Raises `UsageError` where a method keeps none.
        """
        raise UsageError(f"{NOT_KEPT}: give method 'al', 'bp' or 'dtp'")

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: ARG002 - for those that keep one
        """Take what `state_dict` returned for the same options. Raises `UsageError` for a state that does not fit."""
        raise UsageError(f"{NOT_KEPT}: give method 'al', 'bp' or 'dtp'")

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


def fixed_rate(options: TrainerOptions) -> float:
    """Return the learning rate, for methods that train at one rate with torch's Adam and nothing else.

    Raises `UsageError` where the options ask for more.
    """
    if callable(options.learning_rate):
        raise UsageError("learning_rate is a function: this method trains at one rate, give a number")
    if options.weight_decay or options.epsilon != "torch":
        raise UsageError(
            f"weight_decay is {options.weight_decay} and epsilon {options.epsilon!r}: this method has Adam without "
            "weight decay and with torch's epsilon, give 0 and 'torch'"
        )
    return options.learning_rate


def accuracy_over(trainer: Trainer, batches: Iterable[Batch]) -> float | None:
    """Return the share of all instances of x ``[B, …]``, y ``[B]`` that the trainer predicts; None where none come."""
    right = count = 0
    with torch.no_grad():
        for x, y in batches:
            right += int((trainer.predict(x).argmax(1) == y).sum())
            count += len(y)
    return right / count if count else None
