"""Folding: from the layers of each f_i to the folded AL network, and from the same layers to its BP twin.

    folded   x ─f_1─► s_1 ─f_2─► … ─f_L─► s_L        each s_i with a bridge to t_i, each t_i of W units
    twin     x ─f_1─► s_1 ─f_2─► … ─f_L─► s_L ──► (5·W) ──► W ──► … ──► W ──► C        L layers of W

What a kind of network has to say are its *stages*: for each component a function that adds the layers of f_i to a row
(`albench.networks.layers`). ELU and no BatchNorm in the folded network, ReLU in the twin, unless the kind wants it
otherwise. The twin's dense layers are those of the prediction path: the top bridge and all h.

The flat bridge of a large feature map dwarfs the f beside it, and the first bridges are the largest: those of VGG's
first component have 98.8 of the network's 164.4 million parameters (CIFAR-10), so no cut of components onto lanes is
even. A pooled bridge reads one mean a channel. Parameters of the bridges, in thousands, W as in the paper, 5·W beside:

    CIFAR-10          b_1       b_2       b_3       b_4       AL in all
    cnn      flat     42,272    10,815    21,300    5,572     80,518
             pooled      370       370       411      411      2,121
    vgg      flat     98,756    49,604     3,524    1,988    164,356
             pooled      836     1,220     1,220    1,988     15,748
    resnet20 flat     25,028    25,028    12,740    6,596     70,212
             pooled      476       476       500      548      2,820
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from albench.associated import AssociatedComponent, AssociatedNetwork
from albench.networks.initialisation import component_generator
from albench.networks.layers import LayerRow
from albench.networks.spec import BridgeForm

Stage = Callable[[LayerRow], None]
"""Adds the layers of one f_i to a row."""


def folded(
    input_shape: Sequence[int],
    stages: Sequence[Stage],
    *,
    width: int,
    classes: int,
    bridge_widths: Sequence[int | None],
    bridge: BridgeForm = "flat",
    normalised: bool = False,
    seed: int,
) -> AssociatedNetwork:
    """Return the folded network for inputs ``[B, *input_shape]``, one component a stage.

    `bridge_widths`: for each component the units of its bridge's hidden layer, None where it has none. `normalised`:
    BatchNorm in f. He-normal weights, zero biases, from a generator seeded by (seed, component).
    """
    components = []
    shape, target_in = tuple(input_shape), classes
    for i, (stage, bridge_width) in enumerate(zip(stages, bridge_widths, strict=True)):
        row = LayerRow(shape, generator=component_generator(seed, i), activation=nn.ELU, normalised=normalised)
        stage(row)
        components.append(_component(row, target_in, width=width, bridge_width=bridge_width, bridge=bridge))
        shape, target_in = row.shape, width
    return AssociatedNetwork(components, classes=classes)


def _component(
    f: LayerRow, target_in: int, *, width: int, bridge_width: int | None, bridge: BridgeForm
) -> AssociatedComponent:
    generator = f.generator
    b = LayerRow(f.shape, generator=generator, activation=nn.Sigmoid)
    _read_map(b, bridge)
    for units in (bridge_width, width):
        if units is not None:
            b.dense(units)
    g = LayerRow((target_in,), generator=generator, activation=nn.Sigmoid)
    g.dense(width)
    h = LayerRow((width,), generator=generator, activation=nn.Sigmoid)
    h.dense(target_in)
    return AssociatedComponent(
        f=f.sequential(), b=b.sequential(), g=g.sequential(), h=h.sequential(), generator=generator
    )


def twin(
    input_shape: Sequence[int],
    stages: Sequence[Stage],
    *,
    dense_widths: Sequence[int],
    classes: int,
    bridge: BridgeForm = "flat",
    normalised: bool = False,
    seed: int,
) -> nn.Sequential:
    """Return the BP twin: the same stages, then dense layers of these widths and a linear output, ``[B, classes]``.

    `bridge`: how the first dense layer reads a map. `normalised`: BatchNorm before every ReLU.
    """
    row = LayerRow(input_shape, generator=component_generator(seed, 0), activation=nn.ReLU, normalised=normalised)
    for stage in stages:
        stage(row)
    _read_map(row, bridge)
    for units in dense_widths:
        row.dense(units)
    row.linear(classes)
    return row.sequential()


def path_widths(components: int, *, width: int, bridge_width: int | None) -> list[int]:
    """Return the hidden units of top bridge and all h along the prediction path: (5·W), then W once a component."""
    return [bridge_width, *[width] * components] if bridge_width is not None else [width] * components


def _read_map(row: LayerRow, bridge: BridgeForm) -> None:
    """Make a row flat; what is flat already stays as it is."""
    if bridge == "pooled" and len(row.shape) == 3:
        row.mean_pool()
    row.flatten()
