"""Team trainer: a method that runs in several processes, as the harness sees it.

The processes (`albench.methods.team`) hold the network and the mini-batches; what stands here is the parent's side,
the same for all such methods. A copy of the whole network predicts: after training it fetches the members' weights.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from albench.engines.batch import Batch
from albench.methods.flops import back_propagation_flops
from albench.methods.team import MakeMember, Team, shared
from albench.methods.trainer import Trainer, TrainerOptions
from albench.prediction import frozen_view

SENT_AT_ONCE = 64
"""Mini-batches that are sent in one message where they come one by one: a message costs a tenth of a millisecond."""


class SentBatches(Sequence[Batch]):
    """Mini-batches that the members of a team have in memory already."""

    def __init__(self, batches: Sequence[Batch], key: int) -> None:
        self._batches = batches
        self.key = key

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        """Return mini-batches of this process's own copy."""
        return self._batches[index]

    def __len__(self) -> int:
        return len(self._batches)


class TeamTrainer(Trainer):
    """Trains in the processes of a team. Subclasses say which network predicts and what the members are."""

    lane_kind = "process"
    components: int | None = None
    affiliated_parameters = 0

    def __init__(self, options: TrainerOptions, make_member: MakeMember, network: nn.Module, *, processes: int) -> None:
        """Start the processes. `network`: predicts, once it has the members' weights, on ``options.device``."""
        self._options = options
        self._network = network.to(device=options.device, dtype=options.dtype)
        self.device = options.device
        self.lanes = options.lanes
        self.effective_parameters = sum(p.numel() for p in network.parameters())
        self._stale = False
        self._sent = itertools.count()
        self._losses: list[dict[str, float]] = []
        self.team = Team(make_member, options, size=processes, device=options.device)

    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Train on mini-batches and let every member go back to its first weights."""
        self.train(batches)
        self.team.call("reset")
        self._losses, self._stale = [], False

    def prepare(self, batches: Sequence[Batch]) -> SentBatches:
        """Give every member the mini-batches, in memory that all of them see."""
        sent = SentBatches(batches, next(self._sent))
        if batches:
            self.team.call("take", sent.key, *shared(batches))
        return sent

    def train(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches; those that `prepare` has not sent are sent some at a time."""
        for sent in [batches] if isinstance(batches, SentBatches) else self._sent_in_turn(batches):
            if len(sent):
                self._stale = True
                self._losses = self.team.call("train", sent.key)
                if sent is not batches:
                    self.team.call("drop", sent.key)

    def _sent_in_turn(self, batches: Iterable[Batch]) -> Iterator[SentBatches]:
        remaining = iter(batches)
        while some := list(itertools.islice(remaining, SENT_AT_ONCE)):
            yield self.prepare(some)

    def predict(self, x: Tensor) -> Tensor:
        """Return the scores for x ``[B, …]`` with the weights that the members have."""
        scores: Tensor = frozen_view(self.network)(x)
        return scores

    @property
    def network(self) -> nn.Module:
        """This process's copy of the network, with the weights that the members have."""
        if self._stale:
            self._network.load_state_dict(self.team.call("weights"))
            self._stale = False
        return self._network

    @property
    def losses(self) -> list[dict[str, float]]:
        """The losses of the last mini-batch."""
        return self._losses

    def flops(self, batch: Batch) -> int:
        """Return the operations of back-propagation through the network: cutting it or the batch changes none."""
        return back_propagation_flops(self._network, batch)

    def close(self) -> None:
        """End the processes."""
        self.team.close()


class Member(ABC):
    """One process's part: mini-batches in memory. Subclasses train on them."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._batches: dict[int, list[Batch]] = {}
        self.minibatches_seen = 0

    def take(self, key: int, x: Tensor, y: Tensor, sizes: list[int]) -> None:
        """Keep mini-batches until they are dropped."""
        x, y = x.to(self.device), y.to(self.device)
        self._batches[key] = list(zip(torch.split(x, sizes), torch.split(y, sizes), strict=True))

    def drop(self, key: int) -> None:
        """Forget mini-batches."""
        del self._batches[key]

    @abstractmethod
    def train(self, key: int) -> list[dict[str, float]]:
        """Train on mini-batches that were taken, and return the losses of the last."""

    @abstractmethod
    def reset(self) -> None:
        """Be as freshly made."""

    @abstractmethod
    def weights(self) -> dict[str, Any]:
        """Return the whole network's state, the same on every member."""


class CopyMember(Member):
    """A member that has all of the network, as the others do. After each step their gradients and weights are equal."""

    def __init__(self, device: str, network: nn.Module) -> None:
        super().__init__(device)
        self.network = network.to(self.device)

    def gradients(self) -> dict[str, Tensor]:
        """Return the averaged gradients that the last step left, by the network's names."""
        return {name: p.grad.cpu() for name, p in self.network.named_parameters() if p.grad is not None}

    def weights(self) -> dict[str, Any]:
        """Return the state of the whole network."""
        return {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
