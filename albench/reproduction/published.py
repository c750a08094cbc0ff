"""Published: the numbers of the paper's Tables 2 to 7, as they are printed there.

Nothing is computed here. Where the paper leaves something open, so does this: it does not say what follows "±", nor
over how many runs; its Table 5 names the loss ‖s'_i - t_i‖², whose mean over mini-batch and features is what the
authors' code computes; its Table 7 does not name the layer (`albench.reproduction.metafeatures`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Quantity = Literal[
    "test accuracy", "training accuracy", "associated loss", "inter-class distance", "intra-class distance", "ratio"
]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a number is of: one cell of a table."""

    dataset: str
    network: str
    method: str
    quantity: Quantity
    components: int | None = None
    """Component layers, where a table varies them; else the recipe's own."""
    layer: int | None = None
    """Of the component layer i, counted from 1 next to the input, where each has a number of its own."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A printed number."""

    measure: Measure
    value: float
    """In the table's unit."""
    deviation: float | None = None
    """What the table prints behind "±", in the same unit."""
    unit: str = ""
    """"%", or nothing for shares, losses and distances."""
    digits: int
    """Printed behind the point (of a power of ten, behind that of its first factor)."""


SCALES = {"%": 100.0, "": 1.0}
"""What a share is multiplied with to be in a table's unit."""

_ACCURACIES: dict[str, dict[tuple[str, str], dict[str, tuple[str, str]]]] = {
    "table2": {
        ("mnist", "mlp"): {"bp": ("98.5", "0.0"), "al": ("98.6", "0.0"), "dtp": ("96.43", "0.04")},
        ("mnist", "cnn"): {"bp": ("99.4", "0.0"), "al": ("99.5", "0.0")},
    },
    "table3": {
        ("cifar10", "mlp"): {"bp": ("60.6", "0.3"), "al": ("62.8", "0.2"), "dtp": ("58.2", "0.2")},
        ("cifar10", "cnn"): {"bp": ("85.2", "0.4"), "al": ("85.8", "0.1")},
        ("cifar10", "resnet20"): {"bp": ("91.2", "0.4"), "al": ("89.1", "0.5")},
        ("cifar10", "resnet32"): {"bp": ("92.0", "0.2"), "al": ("88.7", "0.4")},
        ("cifar10", "vgg"): {"bp": ("92.3", "0.2"), "al": ("92.6", "0.1")},
    },
    "table4": {
        ("cifar100", "mlp"): {"bp": ("26.5", "0.4"), "al": ("29.7", "0.2")},
        ("cifar100", "cnn"): {"bp": ("51.1", "0.2"), "al": ("52.2", "0.5")},
        ("cifar100", "resnet20"): {"bp": ("63.7", "0.2"), "al": ("61.0", "0.6")},
        ("cifar100", "resnet32"): {"bp": ("63.7", "0.3"), "al": ("59.0", "1.6")},
        ("cifar100", "vgg"): {"bp": ("65.8", "0.3"), "al": ("67.1", "0.3")},
    },
}
"""Test accuracy in % and what follows "±"."""

_ASSOCIATED_LOSSES = {
    1: ("1.2488e-5",),
    2: ("1.5469e-5", "3.5818e-7"),
    3: ("1.2219e-5", "3.8033e-7", "6.7192e-10"),
}
"""By the number of component layers: ‖s'_i - t_i‖² of each, after 200 epochs of MNIST."""

_DEPTHS = {1: ("1.0", "0.9849"), 2: ("1.0", "0.9860"), 3: ("1.0", "0.9871")}
"""By the number of component layers: training and test accuracy as shares, after 200 epochs of MNIST."""

_DISTANCES = {
    ("cifar10", "mlp", "bp"): ("39.36", "67.97", "0.58"),
    ("cifar10", "mlp", "al"): ("0.73", "0.66", "1.11"),
    ("cifar10", "cnn", "bp"): ("41.82", "26.87", "1.56"),
    ("cifar10", "cnn", "al"): ("1.17", "0.36", "3.25"),
    ("cifar100", "mlp", "bp"): ("114.42", "342.65", "0.33"),
    ("cifar100", "mlp", "al"): ("0.23", "0.28", "0.82"),
    ("cifar100", "cnn", "bp"): ("114.71", "163.43", "0.70"),
    ("cifar100", "cnn", "al"): ("0.55", "0.51", "1.08"),
}
"""Inter-class distance, intra-class distance, and the ratio of the two."""


def published(table: str) -> tuple[Published, ...]:
    """Return the numbers of "table2" … "table7", row by row; nothing for what prints none."""
    found = {"table5": _table5, "table6": _table6, "table7": _table7}
    return tuple(found[table]() if table in found else _accuracies(table))


def _accuracies(table: str) -> Iterator[Published]:
    for (dataset, network), methods in _ACCURACIES.get(table, {}).items():
        for method, (value, deviation) in methods.items():
            measure = Measure(dataset=dataset, network=network, method=method, quantity="test accuracy")
            yield _printed(measure, value, deviation=deviation, unit="%")


def _table5() -> Iterator[Published]:
    for components, losses in _ASSOCIATED_LOSSES.items():
        for layer, value in enumerate(losses, 1):
            yield _printed(_of_mnist_al("associated loss", components, layer), value)


def _table6() -> Iterator[Published]:
    for components, (training, test) in _DEPTHS.items():
        yield _printed(_of_mnist_al("training accuracy", components), training)
        yield _printed(_of_mnist_al("test accuracy", components), test)


def _table7() -> Iterator[Published]:
    quantities: tuple[Quantity, ...] = ("inter-class distance", "intra-class distance", "ratio")
    for (dataset, network, method), values in _DISTANCES.items():
        for quantity, value in zip(quantities, values, strict=True):
            yield _printed(Measure(dataset=dataset, network=network, method=method, quantity=quantity), value)


def _of_mnist_al(quantity: Quantity, components: int, layer: int | None = None) -> Measure:
    return Measure(dataset="mnist", network="mlp", method="al", quantity=quantity, components=components, layer=layer)


def _printed(measure: Measure, text: str, *, deviation: str | None = None, unit: str = "") -> Published:
    """Return a number with as many digits as are printed."""
    behind_point = text.split("e")[0].partition(".")[2]
    return Published(
        measure=measure,
        value=float(text),
        deviation=None if deviation is None else float(deviation),
        unit=unit,
        digits=len(behind_point),
    )
