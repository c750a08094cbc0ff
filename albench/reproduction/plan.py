"""Plan: which runs each of the paper's tables and figures takes.

A run trains one network of one recipe by one method from one seed. What two tables share is one run: Figure 5 and
Table 7 look into networks that Table 3 trained, and Table 6's network of two component layers is Table 2's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from albench.errors import UsageError, unknown_name

Kind = Literal["accuracy", "depth", "distances", "figure"]
"""What is compared: accuracies by network and method, numbers by depth, class distances, or a picture."""

SEEDS = (0, 1, 2)
"""Seeds of a whole reproduction. The paper gives a deviation and not over how many runs."""
RECIPE_COMPONENTS = 2
"""Component layers of the MLP in the recipes."""
DEPTHS = (1, 2, 3, 4, 8, 16, 32)
"""Component layers of Table 6: the paper's three, and on to ℓ = 64."""
MOST_COMPONENTS = 4096
"""At the paper's width that is more than any machine holds."""


@dataclass(frozen=True, kw_only=True, order=True)
class RunPlan:
    """One run."""

    dataset: str
    network: str
    method: str
    components: int | None = None
    """Component layers; None: as many as the recipe has."""
    seed: int = 0

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return f"{self.dataset}-{self.network}"

    @property
    def series(self) -> str:
        """Name of the run without its seed."""
        depth = "" if self.components is None else f"-{self.components}-components"
        return f"{self.recipe}-{self.method}{depth}"

    @property
    def name(self) -> str:
        """Name of the run, also as a folder's."""
        return f"{self.series}-seed-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Layers that a figure shows, by the names of `albench.methods.hidden`."""

    titles: tuple[str, ...]
    """As the paper counts them."""
    of_method: dict[str, tuple[str, ...]]
    """By method, the name of each."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A table or a figure of the paper."""

    title: str
    kind: Kind
    networks: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Data set, network and methods."""
    components: tuple[int | None, ...] = (None,)
    """Component layers that it varies."""
    layers: Layers | None = None
    """What a figure shows."""
    note: str = ""
    """What a reader of the table should know."""
    methods: tuple[str, ...] = field(init=False)
    """All methods, in the order in which they appear."""

    def __post_init__(self) -> None:
        """Collect the methods."""
        methods = itertools.chain.from_iterable(methods for _, _, methods in self.networks)
        object.__setattr__(self, "methods", tuple(dict.fromkeys(methods)))


BOTH = ("bp", "al")
CIFAR_NETWORKS = ("mlp", "cnn", "resnet20", "resnet32", "vgg")
FINAL_LAYER = (
    "The paper does not name the layer. Here it is the last one, the scores: only there can AL's sigmoid outputs and "
    "BP's unbounded ones differ as much as its numbers do."
)

TARGETS: dict[str, Target] = {
    "table2": Target(
        title="Table 2: test accuracy on MNIST",
        kind="accuracy",
        networks=(("mnist", "mlp", (*BOTH, "dtp")), ("mnist", "cnn", BOTH)),
        note="The setting of DTP in the paper is not published; here it is this program's own.",
    ),
    "table3": Target(
        title="Table 3: test accuracy on CIFAR-10",
        kind="accuracy",
        networks=tuple(("cifar10", name, (*BOTH, "dtp") if name == "mlp" else BOTH) for name in CIFAR_NETWORKS),
        note="The setting of DTP in the paper is not published; here it is this program's own.",
    ),
    "table4": Target(
        title="Table 4: test accuracy on CIFAR-100",
        kind="accuracy",
        networks=tuple(("cifar100", name, BOTH) for name in CIFAR_NETWORKS),
    ),
    "table5": Target(
        title="Table 5: associated loss of each component layer on MNIST",
        kind="depth",
        networks=(("mnist", "mlp", ("al",)),),
        components=(1, 2, 3),
        note="A mean over mini-batch and features, as in the authors' code. Losses as small as these also depend on "
        "where Adam's ε stands.",
    ),
    "table6": Target(
        title="Table 6: accuracy against the number of component layers on MNIST",
        kind="depth",
        networks=(("mnist", "mlp", ("al",)),),
        components=DEPTHS,
        note="The paper goes to 3 component layers, ℓ = 6. In the authors' code the training accuracy is that of one "
        "mini-batch of 32; here it is that of the whole training set.",
    ),
    "table7": Target(
        title="Table 7: inter-class and intra-class distances of the metafeatures",
        kind="distances",
        networks=tuple((data, name, BOTH) for data in ("cifar10", "cifar100") for name in ("mlp", "cnn")),
        note=FINAL_LAYER,
    ),
    "figure5": Target(
        title="Figure 5: the MLP's layers on CIFAR-10, by t-SNE",
        kind="figure",
        networks=(("cifar10", "mlp", BOTH),),
        layers=Layers(
            titles=("layer 2", "layer 4", "output"),
            of_method={"bp": ("layer 2", "layer 4", "output"), "al": ("f_2", "b_2", "h_1")},
        ),
    ),
    "figure6": Target(
        title="Figure 6: the vanilla CNN's layers on CIFAR-10, by t-SNE",
        kind="figure",
        networks=(("cifar10", "cnn", BOTH),),
        layers=Layers(
            titles=("layer 4", "layer 8", "layer 12"),
            of_method={"bp": ("layer 4", "layer 8", "layer 12"), "al": ("f_2", "f_4", "h_3")},
        ),
    ),
}


def target_named(name: str) -> Target:
    """Return a table or figure; an unknown name is a `UsageError` with the nearest names."""
    if name not in TARGETS:
        raise unknown_name("table or figure", name, TARGETS)
    return TARGETS[name]


def planned_runs(
    target: str,
    *,
    seeds: Sequence[int] = SEEDS,
    datasets: Sequence[str] | None = None,
    networks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    components: Sequence[int] | None = None,
) -> tuple[RunPlan, ...]:
    """Return the runs of a table or figure: all of one seed first, so that what is stopped early is even.

    `datasets`, `networks`, `methods` and `components` leave out what is not named; a `UsageError` for what the table
    has not.
    """
    found = target_named(target)
    _check_among("data set", datasets, [name for name, _, _ in found.networks], target)
    _check_among("network", networks, [name for _, name, _ in found.networks], target)
    _check_among("method", methods, found.methods, target)
    if components is not None:
        if found.components == (None,):
            raise UsageError(f"{target} does not vary the number of components: leave it out")
        if unfit := [count for count in components if not 1 <= count <= MOST_COMPONENTS]:
            raise UsageError(f"components is {unfit[0]}: give whole numbers from 1 to {MOST_COMPONENTS}")
        if len(set(components)) != len(components):
            raise UsageError(f"components are {', '.join(map(str, components))}: give each number once")
    if not seeds or min(seeds) < 0 or len(set(seeds)) != len(seeds):
        raise UsageError(f"seeds are {', '.join(map(str, seeds)) or 'none'}: give different whole numbers from 0 on")
    if found.kind == "figure":
        seeds = seeds[:1]  # a picture is of one network
    runs = tuple(
        RunPlan(dataset=dataset, network=network, method=method, components=_beside_recipe(count), seed=seed)
        for seed in seeds
        for dataset, network, its_methods in found.networks
        for method in its_methods
        for count in (found.components if components is None else components)
        if _asked(dataset, datasets) and _asked(network, networks) and _asked(method, methods)
    )
    if not runs:
        raise UsageError(f"{target} has no run of these data sets, networks and methods: name fewer of them")
    return runs


def components_of(plan: RunPlan) -> int:
    """Return how many component layers the MLP of a run has."""
    return RECIPE_COMPONENTS if plan.components is None else plan.components


def _beside_recipe(components: int | None) -> int | None:
    """Return a number of components, None where it is the recipe's: so that it is the same run."""
    return None if components == RECIPE_COMPONENTS else components


def _asked(name: str, names: Sequence[str] | None) -> bool:
    return names is None or name in names


def _check_among(kind: str, given: Sequence[str] | None, known: Sequence[str], target: str) -> None:
    for name in given or ():
        if name not in known:
            raise UsageError(f"{target} has no {kind} {name!r}: it has {', '.join(dict.fromkeys(known))}")
