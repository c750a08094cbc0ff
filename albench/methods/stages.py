"""Stages: a BP network cut into contiguous parts, one for each lane of a pipeline like GPipe's.

A linear layer does nearly all the work, fan_in · fan_out multiplications an instance, and what follows it up to the
next one (its activation) works on what it has just written. So such a group is never cut apart, and the costliest
stage, which is the pace of the pipeline, is made as cheap as contiguous groups allow. Here an MLP on four stages:

    Flatten Linear ReLU | Linear ReLU | Linear ReLU | Linear ReLU Linear
    stage 0               stage 1       stage 2       stage 3

Stages share their parameters with the network and keep its names: ``weight`` of layer 5 is ``5.weight`` in both.
"""

from __future__ import annotations

from torch import nn

from albench.errors import UsageError
from albench.schedule import partition


def cut_stages(network: nn.Sequential, stages: int) -> list[nn.Sequential]:
    """Return `network` as `stages` contiguous parts, balanced by the multiplications of their linear layers.

    One stage after the other computes what the network does. What stands before the first linear layer (a flattening,
    say) goes with it. Raises `UsageError` where there are fewer linear layers than stages, or where a part holds
    linear layers deeper down, which this cannot weigh.
    """
    starts: list[int] = []
    costs: list[float] = []
    for index, layer in enumerate(network):
        if isinstance(layer, nn.Linear):
            starts.append(index)
            costs.append(layer.in_features * layer.out_features)
        elif any(True for _ in layer.parameters()):
            raise UsageError(
                f"layer {index} is {type(layer).__name__}, which has parameters and is no nn.Linear: "
                "stages are balanced by linear layers alone, give an nn.Sequential of them and their activations"
            )
    if not 1 <= stages <= len(starts):
        raise UsageError(
            f"{stages} stages asked for and the network has {len(starts)} linear layers: "
            f"give 1 to {len(starts)} stages (lanes), or a deeper network"
        )
    edges = [0, *starts[1:], len(network)]  # group j is network[edges[j]:edges[j + 1]]
    return [network[edges[block.start] : edges[block.stop]] for block in partition(costs, stages)]
