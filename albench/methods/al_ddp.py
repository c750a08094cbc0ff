"""AL + DDP: pipelines side by side. R processes each train the folded network on their part of every mini-batch.

Pipelining cuts the network between lanes, data parallelism cuts the mini-batch between copies; the paper says that they
complement each other. Here each process runs AL as a pipeline of K threads (K = 1: one task after the other), and the
tasks (i, k) of the R copies average the gradients of component i before each of them updates it:

    process 0    task (0, k) ─┐           task (1, k) ─┐
    process 1    task (0, k) ─┴ average   task (1, k) ─┴ average       one all-reduce a task, none across components

No task waits for another component's gradients, so the pipeline keeps its schedule. The losses are means over equal
parts, so their average is the mean over the mini-batch and the copies stay equal to the bit. BatchNorm is the
exception, as in DDP: each copy normalises by its own part and keeps statistics of it; the first copy's predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed, nn

from albench.engines import make_engine
from albench.engines.batch import Batch
from albench.methods.flops import associated_flops
from albench.methods.network import folded
from albench.methods.team import own_part
from albench.methods.team_trainer import CopyMember, TeamTrainer
from albench.methods.trainer import Trainer, TrainerOptions, fixed_rate


class AveragedGradients:
    """Averages the gradients of a component over all processes, as soon as its backward pass has the last of them.

    No engine knows: it finds the averages where it would have found the gradients. Every parameter must get a gradient
    on every mini-batch, which those of an associated component do.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], group: Any, size: int) -> None:
        self._parameters = list(parameters)
        self._group = group
        self._size = size
        self._missing = len(self._parameters)
        for parameter in self._parameters:
            parameter.register_post_accumulate_grad_hook(self._arrived)  # type: ignore[no-untyped-call]

    def _arrived(self, _: torch.Tensor) -> None:
        self._missing -= 1
        if self._missing:
            return
        self._missing = len(self._parameters)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        flat /= self._size
        distributed.all_reduce(flat, group=self._group)
        parts = flat.split([gradient.numel() for gradient in gradients])  # type: ignore[no-untyped-call]
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


class ReplicaMember(CopyMember):
    """One process's copy of the folded network and the engine that trains it."""

    def __init__(self, options: TrainerOptions, rank: int, size: int) -> None:
        network = folded(options)
        super().__init__(options.device, network)
        self._rank, self._size = rank, size
        self._averaged = [
            # A group for each component: lanes are threads, and two of them may average at the same time.
            AveragedGradients(list(component.parameters()), distributed.new_group(), size)
            for component in network.components
        ]
        self._engine = make_engine(
            "threads" if options.lanes > 1 else "serial",
            network,
            learning_rate=fixed_rate(options),
            distinct_targets=options.distinct_targets,
            lanes=options.lanes,
        )
        self._first_state = self._engine.state_dict()

    def train(self, key: int) -> list[dict[str, float]]:
        """Train on this process's part of mini-batches that were taken."""
        self._engine.fit(
            own_part(batch, self._rank, self._size, minibatch=self._engine.minibatches_seen + position)
            for position, batch in enumerate(self._batches[key])
        )
        mine = self._engine.losses
        values = torch.tensor([list(losses.values()) for losses in mine], dtype=torch.float64, device=self.device)
        values /= self._size
        distributed.all_reduce(values)
        return [dict(zip(losses, row, strict=True)) for losses, row in zip(mine, values.tolist(), strict=True)]

    def reset(self) -> None:
        """Go back to the first weights and an optimizer that has seen nothing."""
        self._engine.load_state_dict(self._first_state)


class ReplicaTrainer(TeamTrainer):
    """R pipelines of K lanes, as the harness sees them."""

    lane_kind = "cpu-thread"

    def __init__(self, options: TrainerOptions) -> None:
        fixed_rate(options)  # refused here, before a process is started
        network = folded(options)
        super().__init__(options, ReplicaMember, network, processes=options.replicas)
        self.lanes = min(options.lanes, len(network.components))
        self.components = len(network.components)
        self.effective_parameters = sum(p.numel() for p in network.effective_parameters())
        self.affiliated_parameters = sum(p.numel() for p in network.affiliated_parameters())
        self._folded = network
        self.notes = [f"{options.replicas} processes of {self.lanes} lanes each"]

    def flops(self, batch: Batch) -> int:
        """Return the operations of the tasks of all copies; each runs the target side on its own distinct rows."""
        part = own_part(batch, 0, self._options.replicas, minibatch=0)
        distinct = self._options.distinct_targets
        return self._options.replicas * associated_flops(self._folded, part, distinct_targets=distinct)


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return a trainer."""
    return ReplicaTrainer(options)
