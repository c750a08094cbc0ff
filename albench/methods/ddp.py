"""DDP: data-parallel back-propagation, one process a lane: what a user would do with the same devices.

Every process has the whole twin network and trains on its part of each mini-batch; DistributedDataParallel averages
the gradients, bucket by bucket while the backward pass still runs, and every process makes the same update. The parts
are equal, so the gradient is that of the mean loss over the mini-batch, to rounding.
"""

from __future__ import annotations

import torch
from torch import distributed
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from albench.engines.adam import forget, lean_step
from albench.engines.batch import check_batch
from albench.engines.precision import exact_arithmetic
from albench.methods.network import twin
from albench.methods.team import own_part
from albench.methods.team_trainer import CopyMember, TeamTrainer
from albench.methods.trainer import Trainer, TrainerOptions, fixed_rate


class DataParallelMember(CopyMember):
    """One process's copy of the twin network."""

    def __init__(self, options: TrainerOptions, rank: int, size: int) -> None:
        super().__init__(options.device, twin(options))
        self._rank, self._size, self._classes = rank, size, options.classes
        self._first_weights = {name: t.clone() for name, t in self.network.state_dict().items()}
        # Gradients lie in the buckets that are averaged: nothing is copied there and back.
        self._replica = DistributedDataParallel(self.network, gradient_as_bucket_view=True)
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=fixed_rate(options), fused=True)

    def train(self, key: int) -> list[dict[str, float]]:
        """Train on this process's part of mini-batches that were taken."""
        like = next(self.network.parameters())
        loss = torch.zeros((), dtype=like.dtype, device=self.device)
        with torch.enable_grad(), exact_arithmetic(self.device):
            for batch in self._batches[key]:
                part = own_part(batch, self._rank, self._size, minibatch=self.minibatches_seen)
                x, y = check_batch(part, minibatch=self.minibatches_seen, classes=self._classes, like=like)
                loss = F.cross_entropy(self._replica(x), y)
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                lean_step(self._optimizer)
                self.minibatches_seen += 1
        mean = loss.detach() / self._size
        distributed.all_reduce(mean)
        return [{"cross-entropy": mean.item()}]

    def reset(self) -> None:
        """Go back to the first weights and an optimizer that has seen nothing."""
        self.network.load_state_dict(self._first_weights)
        forget(self._optimizer)
        self.minibatches_seen = 0


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return a DDP trainer."""
    fixed_rate(options)  # refused here, before a process is started
    return TeamTrainer(options, DataParallelMember, twin(options), processes=options.lanes)
