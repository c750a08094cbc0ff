"""What may share a stack; what may not is refused by name rather than trained wrongly."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.prune import l1_unstructured

from albench.associated import AssociatedComponent
from albench.component import ParameterGroup
from albench.engines import make_engine
from albench.engines.stackability import difference, has_written_pass, refusal, shape_signature
from albench.errors import UsageError
from tests.engines.locally_supervised import LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)


def component(change=lambda component: None):
    made = network(6).components[1]
    made.rate, made.order, made.sizes, made.act = 1.0, 1, (1, [2, {"three": 3}]), torch.tanh
    change(made)
    return made


class Doubled(nn.Linear):
    """A layer with a forward pass of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


class Shifted(nn.Sigmoid):
    """An activation with a forward pass of its own."""

    def forward(self, x):
        return super().forward(x) - 0.5


class Rated(AssociatedComponent):
    """One that learns at another rate."""

    def parameter_groups(self):
        return [ParameterGroup(parameters=list(self.parameters()), rate=3)]


class Empty(AssociatedComponent):
    """One with a parameter group without parameters."""

    def parameter_groups(self):
        return [*super().parameter_groups(), ParameterGroup(parameters=[])]


class Twice(AssociatedComponent):
    """One with a parameter in two groups."""

    def parameter_groups(self):
        return [*super().parameter_groups(), ParameterGroup(parameters=[self.f[0].weight])]


class Astray(AssociatedComponent):
    """One that trains what is not its own."""

    def parameter_groups(self):
        return [*super().parameter_groups(), ParameterGroup(parameters=[nn.Parameter(torch.ones(1))])]


def unbiased(made):
    made.b[0] = nn.Linear(9, 9, bias=False)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer one
        nn.utils.weight_norm(layer)


REFUSED = {
    "dropout": (lambda c: c.f.append(nn.Dropout()), "f.2 is Dropout"),
    "batch norm": (lambda c: c.f.append(nn.BatchNorm1d(9)), "f.2 is BatchNorm1d"),
    "no bias": (unbiased, "b.0 is Linear without bias"),
    "a kind of linear layer": (lambda c: c.b.insert(0, Doubled(9, 9)), "b.0 is Doubled"),
    "a kind of activation": (lambda c: c.b.append(Shifted()), "b.2 is Shifted"),
    "a weight of its own": (
        lambda c: c.register_parameter("scale", nn.Parameter(torch.ones(1))),
        "scale is not trained",
    ),
    "a frozen weight": (lambda c: c.g[0].weight.requires_grad_(False), "g.0.weight is not trained"),
    "a weight by norm and direction, old": (
        lambda c: old_weight_norm(c.f[0]),
        "f.0 is Linear with parameters bias, weight_g",
    ),
    "a spectral norm, old": (
        lambda c: nn.utils.spectral_norm(c.f[0]),
        "f.0 is Linear with parameters bias, weight_orig",
    ),
    "a pruned weight": (
        lambda c: l1_unstructured(c.f[0], "weight", 0.3),
        "f.0 is Linear with parameters bias, weight_orig",
    ),
    "a parametrized weight": (
        lambda c: nn.utils.parametrizations.weight_norm(c.f[0]),
        "f.0 is ParametrizedLinear: a parametrized weight",
    ),
    "an activation with a weight": (
        lambda c: c.f[1].register_parameter("slope", nn.Parameter(torch.ones(1))),
        "f.1 is ELU with a parameter slope",
    ),
    "a layer used twice": (lambda c: c.f.extend([c.f[0], nn.ELU()]), "f.0.weight is used again as f.2.weight"),
    "a tied weight": (lambda c: setattr(c.b[0], "weight", c.f[0].weight), "f.0.weight is used again as b.0.weight"),
    "memory used twice": (
        lambda c: setattr(c.b[0].weight, "data", c.f[0].weight.data),
        "f.0.weight is used again as b.0.weight",
    ),
    "an empty group": (lambda c: setattr(c, "__class__", Empty), "parameter groups is empty"),
    "a parameter in two groups": (lambda c: setattr(c, "__class__", Twice), "two have a parameter in common"),
    "a parameter astray": (lambda c: setattr(c, "__class__", Astray), "have a parameter that is not its own"),
    "a buffer": (lambda c: c.register_buffer("seen", torch.zeros(())), "AssociatedComponent itself has a buffer seen"),
    "a buffer of a layer": (lambda c: c.f[1].register_buffer("seen", torch.zeros(())), "layer f.1 has a buffer seen"),
    "a tensor": (lambda c: setattr(c, "scale", torch.ones(())), "AssociatedComponent itself has a tensor scale"),
    "a hidden tensor": (
        lambda c: setattr(c, "_scale", torch.ones(())),
        "AssociatedComponent itself has a tensor _scale",
    ),
    "a hook": (lambda c: c.register_forward_hook(print), "AssociatedComponent itself has hooks"),
    "a hook before a layer": (lambda c: c.f[0].register_forward_pre_hook(print), "layer f.0 has hooks"),
    "a backward hook": (lambda c: c.f[1].register_full_backward_hook(print), "layer f.1 has hooks"),
    "a hook of a weight": (lambda c: c.f[0].weight.register_hook(print), "parameter f.0.weight has hooks"),
    "another forward pass": (lambda c: setattr(c.f[1], "forward", torch.relu), "layer f.1 has had its forward pass"),
    "types mixed": (lambda c: c.h.double(), "of several types"),
    "another flattening": (lambda c: c.f.insert(0, nn.Flatten(0, 1)), "f.0 is Flatten"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_stacked_is_refused_by_name(case):
    change, words = REFUSED[case]
    assert words in refusal(component(change))


def test_what_can_be_stacked_is_not_refused():
    assert refusal(component()) == ""
    assert refusal(network(4, bridge_width=20).components[0]) == ""
    assert "does not declare" in refusal(nn.Linear(2, 2))
    again = component()
    again.f = nn.Sequential(nn.Linear(9, 9), again.f[1], nn.Linear(9, 9), again.f[1])
    assert refusal(again) == "", "an activation may stand in two places"


def test_what_neighbours_need_not_have_in_common():
    """Their generators, and whether they are in training mode where no forward pass of the user's own asks for it."""
    one, other = component(), component()
    other.eval()
    other.generator = torch.Generator().manual_seed(3)
    assert shape_signature(one) == shape_signature(other)


DIFFERENT = {
    "a frozen weight": lambda c: c.g[0].weight.requires_grad_(False),
    "another activation": lambda c: c.f.__setitem__(1, nn.Tanh()),
    "another constant": lambda c: c.f.__setitem__(1, nn.ELU(alpha=0.5)),
    "another number": lambda c: setattr(c, "rate", 3.0),
    "another hidden number": lambda c: setattr(c, "_rate", 3.0),
    "another kind of number": lambda c: setattr(c, "order", True),
    "another tuple": lambda c: setattr(c, "sizes", (1, [2, {"three": 4}])),
    "another function": lambda c: setattr(c, "act", torch.relu),
    "another attribute": lambda c: setattr(c.b[1], "note", "x"),
    "another type": lambda c: c.double(),
    "a buffer": lambda c: c.register_buffer("seen", torch.zeros(())),
    "a hook": lambda c: c.f.register_forward_hook(lambda module, given, out: out / 2),
    "another order": lambda c: c.f.__setitem__(1, c.b[1]),
    "another width": lambda c: c.b.__setitem__(0, nn.Linear(9, 8)),
    "other rates": lambda c: setattr(c, "__class__", Rated),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_differs_shares_no_stack(case):
    """One of them would be trained as if it were the other."""
    one, other = shape_signature(component()), shape_signature(component(DIFFERENT[case]))
    assert one == shape_signature(component())
    assert one != other
    assert difference(one, other)
    assert difference(one, one) == ""


@pytest.mark.parametrize(
    "case", ["a frozen weight", "another activation", "another constant", "other rates", "a buffer", "a hook"]
)
def test_an_odd_one_out_in_the_middle_runs_beside_its_neighbours(case):
    """It splits the row into stacks, and the run still ends where the serial order ends."""
    data = batches(30, ragged=3, dtype=torch.float64)
    states = []
    for name in ("serial", "fused"):
        net = network(14, dtype=torch.float64)
        DIFFERENT[case](net.components[3])
        states.append(trained(name, data, net=net)[0])
    assert largest_difference(*states) <= 1e-10


def test_neighbours_that_are_all_frozen_are_refused_by_name():
    """Rather than trained in spite of it."""
    net = network(8)
    for made in net.components:
        made.g.requires_grad_(False)
    with pytest.raises(UsageError, match=r"component 1 cannot be stacked: its parameter g.0.weight is not trained"):
        make_engine("fused", net)


class Scaled(StackableLocallySupervised):
    """With a number of its own in its loss."""

    def __init__(self, features, width, seed, *, scale=None):
        super().__init__(features, width, seed)
        self.scale = 3.0 * (seed if scale is None else scale)

    def forward(self, features, target):
        update = super().forward(features, target)
        return update._replace(losses={"local": update.losses["local"] * self.scale})


def test_components_with_other_numbers_are_not_trained_with_the_first_ones():
    with pytest.raises(UsageError, match="nothing to stack .components 2 and 3 differ in the attribute `scale`"):
        make_engine("fused", LocalNetwork(Scaled))
    data = batches(20, dtype=torch.float64)
    states = [trained(name, data, net=LocalNetwork(Scaled, scale=2).double())[0] for name in ("serial", "fused")]
    assert largest_difference(*states) <= 1e-10


class Dropping(StackableLocallySupervised):
    """A forward pass that asks whether it trains."""

    def forward(self, features, target):
        update = super().forward(features, target)
        return update._replace(losses={"local": update.losses["local"] * (2 if self.training else 1)})


def test_components_in_another_mode_are_not_trained_in_the_first_ones():
    data = batches(20, dtype=torch.float64)
    states = []
    for name in ("serial", "fused"):
        net = LocalNetwork(Dropping, 6).double()
        net.components[3].eval()
        states.append(trained(name, data, net=net)[0])
    assert largest_difference(*states) <= 1e-10
    with make_engine("fused", net, lanes=1) as engine:
        net.components[5].eval()
        with pytest.raises(UsageError, match="component 5 has changed .* attribute `training` of the component itself"):
            engine.fit(data)


def test_a_network_that_was_evaluated_trains_on():
    net = network(8)
    with make_engine("fused", net, lanes=1) as engine:
        engine.fit(batches(3))
        net.eval()
        engine.fit(batches(3))


def test_why_nothing_can_be_stacked_is_said():
    net = LocalNetwork(StackableLocallySupervised)
    for made in net.components:
        nn.utils.parametrizations.weight_norm(made.body[0])
    with pytest.raises(UsageError, match="nothing to stack .component 0 cannot be stacked: its layer body.0 is Param"):
        make_engine("fused", net)


CHANGES = {
    "frozen": (lambda c: c.h[0].bias.requires_grad_(False), "parameter h.0.bias is not trained"),
    "a hook": (lambda c: c.f.register_forward_hook(print), "layer f has hooks"),
    "an attribute": (lambda c: setattr(c, "scale", 2), "attribute `scale` of the component itself"),
    "an activation": (lambda c: c.f.__setitem__(1, nn.Tanh()), "kind of layer f.1"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_changes_between_two_fits_is_refused(case):
    """Before anything is trained, so that the engine can go on once it is changed back."""
    change, words = CHANGES[case]
    net = network(8)
    with make_engine("fused", net, lanes=1) as engine:
        engine.fit(batches(3))
        change(net.components[2])
        with pytest.raises(UsageError, match=f"component 2 has changed since its engine was made.*{words}"):
            engine.fit(batches(3))
        assert engine.state_dict()["minibatches"] == 3


def test_a_weight_that_is_thawed_again_trains_on():
    net = network(8)
    with make_engine("fused", net, lanes=1) as engine:
        engine.fit(batches(3))
        net.components[2].f[0].weight.requires_grad_(False)
        with pytest.raises(UsageError, match="make the engine again"):
            engine.fit(batches(3))
        net.components[2].f[0].weight.requires_grad_(True)
        engine.fit(batches(3))


def test_whose_reverse_pass_is_written():
    """A class that overrides one of the two says nothing about the other."""

    class OtherForward(AssociatedComponent):
        def forward(self, features, target):
            return super().forward(features, target)

    class OtherReverse(AssociatedComponent):
        def explicit_update(self, features, target):
            return super().explicit_update(features, target)

    class Both(OtherForward):
        def forward(self, features, target):
            return super().forward(features, target)

        def explicit_update(self, features, target):
            return super().explicit_update(features, target)

    class Neither(AssociatedComponent):
        pass

    kinds = [AssociatedComponent, Neither, Both, OtherForward, OtherReverse, StackableLocallySupervised]
    assert [has_written_pass(kind) for kind in kinds] == [True, True, True, False, False, False]
