"""Components that are not Associated Learning: locally supervised layers, as in DGL."""

import torch
from torch import nn
from torch.nn import functional as F

from albench.component import ParameterGroup, Update
from tests.engines.made_up import CLASSES, FEATURES


class LocallySupervised(nn.Module):
    """A layer with an auxiliary classifier of its own; the target that it hands on are the labels."""

    def __init__(self, features, width, seed, *, dropout=0.0):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.dropout = dropout
        with torch.random.fork_rng(devices=[]):  # on all devices torch warns, where there are several
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Linear(features, width), nn.ReLU())
            self.head = nn.Sequential(nn.Linear(width, CLASSES))

    def forward(self, features, target):
        out = self.body(features)
        if self.dropout:
            keep = torch.rand(out.shape, generator=self.generator) > self.dropout
            out = out * keep / (1 - self.dropout)
        return Update(out.detach(), target, {"local": F.cross_entropy(self.head(out), target)})

    def parameter_groups(self):
        return [ParameterGroup(parameters=list(self.parameters()))]


class StackableLocallySupervised(LocallySupervised):
    """The same, written so that a leading dimension is welcome."""

    stackable = True

    def forward(self, features, target):
        out = self.body(features)
        logs = F.log_softmax(self.head(out), dim=-1)
        return Update(out.detach(), target, {"local": -logs.gather(-1, target.unsqueeze(-1)).squeeze(-1).mean(-1)})


class LocalNetwork(nn.Module):
    def __init__(self, kind, count=4, width=9, **options):
        super().__init__()
        self.components = nn.ModuleList(
            kind(FEATURES if i == 0 else width, width, seed=i, **options) for i in range(count)
        )
        self.classes = CLASSES

    def first_target(self, labels, *, dtype, distinct_targets):
        return labels
