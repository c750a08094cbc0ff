"""That a component which breaks its promise `stackable` is found out at the first pass, and named."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from albench.component import Update
from albench.engines import ComponentError, make_engine
from albench.errors import UsageError
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import batches

pytestmark = pytest.mark.timeout(120)


class Promising(LocallySupervised):
    """Promises to be stackable; what it then does is the subclasses' affair."""

    stackable = True

    def losses(self, out, target):
        logs = F.log_softmax(self.head(out), dim=-1)
        return -logs.gather(-1, target.unsqueeze(-1)).squeeze(-1).mean(-1)

    def forward(self, features, target):
        out = self.body(features)
        return Update(out.detach(), target, {"local": self.losses(out, target)})


class OneLossForAll(Promising):
    def losses(self, out, target):
        return super().losses(out, target).mean()


class LossPerInstance(Promising):
    def losses(self, out, target):
        return -F.log_softmax(self.head(out), dim=-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)


class CrossEntropy(Promising):
    """As one writes it for one component."""

    def losses(self, out, target):
        return F.cross_entropy(self.head(out), target)


class OneForAll(Promising):
    def forward(self, features, target):
        update = super().forward(features, target)
        return update._replace(features=update.features.mean(0)) if features.dim() > 2 else update


class OneTargetForAll(Promising):
    def forward(self, features, target):
        return super().forward(features, target)._replace(target=(target, target.sum()))


class SecondDimension(Promising):
    """Takes the dimension after the instances by its number, which is theirs in a stack: nothing fails."""

    def losses(self, out, target):
        return super().losses(out.softmax(1), target)


class OtherFeatures(Promising):
    def forward(self, features, target):
        update = super().forward(features, target)
        return update._replace(features=update.features / update.features.size(0))


class OtherTarget(Promising):
    def forward(self, features, target):
        update = super().forward(features, target)
        return update._replace(target=target.roll(1, 0))


class OtherLosses(Promising):
    def forward(self, features, target):
        update = super().forward(features, target)
        return update if features.dim() == 2 else update._replace(losses={"other": update.losses["local"]})


class Random(Promising):
    def losses(self, out, target):
        return super().losses(out + torch.rand(out.shape, generator=self.generator), target)


class GloballyRandom(Promising):
    def losses(self, out, target):
        return super().losses(F.dropout(out), target)


class Counting(Promising):
    calls = 0

    def losses(self, out, target):
        self.calls += 1
        return super().losses(out, target) * self.calls


class Unused(Promising):
    def __init__(self, features, width, seed):
        super().__init__(features, width, seed)
        self.extra = nn.Linear(3, 3)


BROKEN = {
    OneLossForAll: r"promise `stackable`: loss 'local' has shape \[\] and must have \[K\]",
    LossPerInstance: r"promise `stackable`: loss 'local' has shape \[1, 8\] and must have \[K\]",
    CrossEntropy: r"promise `stackable`: its forward pass takes features \[8, 12\] and fails on a stack of them, "
    r"\[1, 8, 12\] \(\w+: .*\), where each loss must come back as \[K\]",
    OneForAll: r"promise `stackable`: what it hands on as features has shape \[8, 9\]",
    OneTargetForAll: r"promise `stackable`: a tensor that it hands on in the target has shape \[\]",
    SecondDimension: "promise `stackable`: loss 'local' is another in a stack of one than of the component alone",
    OtherFeatures: "promise `stackable`: what it hands on as features is another in a stack of one",
    OtherTarget: "promise `stackable`: the target that it hands on is another in a stack of one",
    OtherLosses: "promise `stackable`: the set of losses is another in a stack of one",
    Random: "promise `stackable`: its forward pass draws random numbers",
    GloballyRandom: "promise `stackable`: its forward pass draws random numbers",
    Counting: "promise `stackable`: its forward pass changes its attribute `calls`",
    Unused: r"has a parameter extra.weight that its losses do not depend on",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_promise_is_found_at_the_first_pass(kind):
    """And leaves the network, its generators too, as it was."""
    net = LocalNetwork(kind)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    generators = [torch.default_generator, *(made.generator for made in net.components)]
    states = [generator.get_state() for generator in generators]
    with (
        make_engine("fused", net, lanes=1) as engine,
        pytest.raises(UsageError, match=f"component 0 (does not keep its )?{BROKEN[kind]}"),
    ):
        engine.fit(batches(1))
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert all(torch.equal(g.get_state(), state) for g, state in zip(generators, states, strict=True))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_promise_is_found_when_a_tick_is_prepared(kind, monkeypatch):
    """Of a stack that no mini-batch has reached by then: the second one, here."""
    monkeypatch.setattr("albench.engines.fused.FusedEngine.prepare_uncompiled", True)
    net = LocalNetwork(StackableLocallySupervised, 8)
    for i in range(4, 8):
        net.components[i] = kind(9, 9, seed=i)
    with (
        make_engine("fused", net, lanes=1) as engine,
        pytest.raises(UsageError, match=f"component 4 .*{BROKEN[kind].replace('12', '9')}"),
    ):
        engine.fit(batches(3))


class Failing(Promising):
    def losses(self, out, target):
        raise ArithmeticError("as it would anywhere")


def test_what_fails_alone_too_is_the_components_own_failure():
    with (
        make_engine("fused", LocalNetwork(Failing), lanes=1) as engine,
        pytest.raises(ComponentError, match="component 0 failed on mini-batch 0: ArithmeticError: as it would"),
    ):
        engine.fit(batches(1))


class StackedOnly(Promising):
    def losses(self, out, target):
        if out.dim() == 2:
            raise ArithmeticError("not alone")
        return super().losses(out, target)


def test_what_fails_alone_only_is_the_components_own_failure_too():
    """As `serial` would show."""
    with (
        make_engine("fused", LocalNetwork(StackedOnly), lanes=1) as engine,
        pytest.raises(ComponentError, match="component 0 failed on mini-batch 0: ArithmeticError: not alone"),
    ):
        engine.fit(batches(1))


class Vanishing(Promising):
    """A loss that is what rounding leaves, and another in every order of its terms."""

    def losses(self, out, target):
        noise = 3e-8 if out.dim() == 2 else 1e-8
        return super().losses(out, target) * 0 + noise


class NotANumber(Promising):
    def losses(self, out, target):
        return super().losses(out, target) * torch.nan


@pytest.mark.parametrize("kind", [Vanishing, NotANumber])
def test_what_differs_by_rounding_only_keeps_the_promise(kind):
    with make_engine("fused", LocalNetwork(kind), lanes=1) as engine:
        engine.fit(batches(3))
