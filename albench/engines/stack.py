"""Stack: K components of equal shape as one module whose weights have a leading dimension K.

One call of a stack does the work of K tasks, each component on its own features, target and weights: a linear layer
becomes one batched matrix product, an activation one elementwise kernel, and Adam one fused call. The number of
launches does not grow with K.

All parameters of a group lie in one buffer, one row a component:

    group (f, b)     row 0: [ f.weight … f.bias … b.weight … b.bias … ]     slot 0
                     row 1: [                    …                    ]     slot 1

Columns, seen through strides, are the stacked weights ``[K, out, in]`` of the forward pass; rows are what Adam updates.
Rows matter because in a pipeline component i has made i updates fewer than component 0, and Adam's bias correction
depends on how many: a fused call takes a list of rows, each with a step count of its own.
"""

from __future__ import annotations

import copy
import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from albench.component import Component, Target, Update, refuse_graph
from albench.engines.chain import Chain, StackedLinear
from albench.engines.options import EngineOptions
from albench.engines.state import Moments, named_parameters

ROW_BY_ROW = (nn.ELU, nn.Sigmoid, nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.Softplus, nn.Identity)
"""Layers without weights that treat every number, or every row, alike: a leading dimension changes nothing."""


class Column(NamedTuple):
    """Where one parameter lies in its group's rows."""

    group: int
    start: int
    shape: tuple[int, ...]


def shape_signature(component: Any) -> tuple[Any, ...]:
    """Return what must agree for two components to share a stack: layers, shapes, what is trained and at which rate."""
    module = cast("nn.Module", component)
    layers = tuple((name, type(layer), layer.extra_repr()) for name, layer in module.named_modules())
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = tuple((g.rate, *(names.get(id(p)) for p in g.parameters)) for g in component.parameter_groups())
    parameters = tuple((name, tuple(p.shape), p.requires_grad) for name, p in module.named_parameters())
    return type(module), layers, parameters, groups


def refusal(component: Any) -> str:
    """Return why a component cannot be stacked; empty if it can."""
    if not getattr(component, "stackable", False):
        return f"{type(component).__name__} does not declare `stackable = True`"
    trained = {id(parameter) for group in component.parameter_groups() for parameter in group.parameters}
    for name, parameter in named_parameters(component).items():
        if not parameter.requires_grad or id(parameter) not in trained:
            return f"its parameter {name} is not trained, and a stack trains all"
    for name, layer in cast("nn.Module", component).named_modules():
        # Exactly these types: what a subclass computes is its own affair.
        known = (
            type(layer) in ROW_BY_ROW
            or (type(layer) is nn.Linear and layer.bias is not None)
            or (type(layer) is nn.Flatten and layer.start_dim == 1 and layer.end_dim == -1)
        )
        if not known and (not list(layer.children()) or list(layer.parameters(recurse=False))):
            return f"its layer {name or type(component).__name__} is {type(layer).__name__}, which has no stacked form"
    return ""


class Stack:
    """Neighbouring components of equal shape, trained as one; slot j is the j-th of them."""

    def __init__(self, components: Sequence[Component], options: EngineOptions) -> None:
        self.components = list(components)
        self._options = options
        self._columns: dict[str, Column] = {}
        names = {id(parameter): name for name, parameter in named_parameters(components[0]).items()}
        groups = components[0].parameter_groups()
        self._group_rates = [group.rate for group in groups]
        sizes = []
        for g, group in enumerate(groups):
            start = 0
            for parameter in group.parameters:
                self._columns[names[id(parameter)]] = Column(g, start, tuple(parameter.shape))
                start += parameter.numel()
            sizes.append(start)
        like = groups[0].parameters[0]
        count = len(self.components)

        def buffers() -> list[Tensor]:
            return [torch.zeros(count, size, dtype=like.dtype, device=like.device) for size in sizes]

        self._weights, self._gradients, self._means, self._squares = buffers(), buffers(), buffers(), buffers()
        # Adam counts in float32 whatever the type of the weights, as torch.optim does.
        self._steps = [torch.zeros(count, dtype=torch.float32, device=like.device) for _ in sizes]
        self._rows = [
            [list(buffer) for buffer in row]
            for row in zip(self._weights, self._gradients, self._means, self._squares, self._steps, strict=True)
        ]
        self._linears: dict[str, StackedLinear] = {}
        self._module = self._stacked(cast("nn.Module", components[0]), "")
        # In the order of the linear layers, in which a reverse pass finds the gradients.
        self._names = [f"{name}.{part}" for name in self._linears for part in ("weight", "bias")]
        children = list(self._module.children())
        self._explicit = hasattr(self._module, "explicit_update") and all(isinstance(c, Chain) for c in children)
        self._whole = self._leaves(0, count)
        self._bound: dict[str, Tensor] = {}  # the leaves that the layers hold now
        self._last_losses: list[tuple[dict[str, Tensor], int]] = [({}, 0)] * count

    def __len__(self) -> int:
        return len(self.components)

    def _stacked(self, module: nn.Module, name: str) -> nn.Module:
        """Return a twin of a module whose linear layers are stacked."""
        if isinstance(module, nn.Linear):
            return self._linears.setdefault(name, StackedLinear())
        if isinstance(module, ROW_BY_ROW):
            return module
        if isinstance(module, nn.Flatten):
            return nn.Flatten(module.start_dim + 1, module.end_dim)
        prefix = f"{name}." if name else ""
        parts = {key: self._stacked(cast("nn.Module", m), prefix + key) for key, m in module._modules.items()}
        if type(module) is nn.Sequential and all(map(Chain.accepts, parts.values())):
            return Chain(list(parts.values()))
        twin = copy.copy(module)
        twin._modules = {**parts}
        return twin

    def _views(self, buffers: list[Tensor], low: int, high: int) -> dict[str, Tensor]:
        """Return the parameters of slots low … high-1, stacked: weights ``[k, out, in]``, biases ``[k, 1, out]``."""
        views = {}
        for name, (group, start, shape) in self._columns.items():
            numbers = functools.reduce(operator.mul, shape)
            stacked = shape if len(shape) > 1 else (1, *shape)
            views[name] = buffers[group][low:high, start : start + numbers].view(high - low, *stacked)
        return views

    def _leaves(self, low: int, high: int) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the weights that autograd differentiates by, and the views that their gradients go to."""
        leaves = {k: v.detach().requires_grad_(True) for k, v in self._views(self._weights, low, high).items()}
        gradients = self._views(self._gradients, low, high)
        return leaves, [gradients[name] for name in self._names]

    def gather(self) -> None:
        """Copy the components' weights into the stack."""
        for slot, component in enumerate(self.components):
            views = self._views(self._weights, slot, slot + 1)
            for name, parameter in named_parameters(component).items():
                views[name].view(parameter.shape).copy_(parameter.detach())

    def scatter(self) -> None:
        """Copy the stack's weights back into the components."""
        with torch.no_grad():
            for slot, component in enumerate(self.components):
                views = self._views(self._weights, slot, slot + 1)
                for name, parameter in named_parameters(component).items():
                    parameter.copy_(views[name].view(parameter.shape))

    def run(self, minibatch: int, low: int, high: int, features: Tensor, target: Target) -> tuple[Tensor, Target]:
        """Run the tasks of slots low … high-1: slot low on mini-batch `minibatch`, each next slot on the one before.

        features ``[k, B, …]`` and every tensor of the target have one entry a slot, and so has what is returned.
        """
        leaves, gradients = self._whole if high - low == len(self) else self._leaves(low, high)
        if self._bound is not leaves:
            for name, linear in self._linears.items():
                linear.weight, linear.bias = leaves[f"{name}.weight"], leaves[f"{name}.bias"]
            self._bound = leaves
        if self._explicit:
            with torch.no_grad():
                update: Update = self._module.explicit_update(features, target)  # type: ignore[operator]
            found = [gradient for linear in self._linears.values() for gradient in linear.gradients or ()]
        else:
            update = refuse_graph(self._module(features, target))
            total = functools.reduce(operator.add, update.losses.values()).sum()
            found = list(torch.autograd.grad(total, [leaves[name] for name in self._names]))
        torch._foreach_copy_(gradients, found)
        self._step(minibatch, low, high)
        self._last_losses[low:high] = [(update.losses, position) for position in range(high - low)]
        return update.features, update.target

    def _step(self, minibatch: int, low: int, high: int) -> None:
        """Update slots low … high-1 with Adam: one fused call for each group and each run of slots at the same rate."""
        options = self._options
        for start, stop, base in self._equal_rates(minibatch, low, high):
            for g, rate in enumerate(self._group_rates):
                self._steps[g][start:stop].add_(1)
                weights, gradients, means, squares, steps = (rows[start:stop] for rows in self._rows[g])
                # What torch.optim.Adam(fused=True) calls; the optimizer itself would spend three times as long in
                # Python, row by row, which is the very cost that stacking is there to avoid.
                torch._fused_adam_(
                    weights,
                    gradients,
                    means,
                    squares,
                    [],
                    steps,
                    lr=base * rate,
                    beta1=0.9,
                    beta2=0.999,
                    weight_decay=options.weight_decay,
                    eps=1e-8,
                    amsgrad=False,
                    maximize=False,
                )

    def _equal_rates(self, minibatch: int, low: int, high: int) -> list[tuple[int, int, float]]:
        """Return (start, stop, rate) of runs of slots whose mini-batches have the same base rate."""
        if not callable(self._options.learning_rate):
            return [(low, high, self._options.learning_rate)]
        rates = [self._options.rate_at(minibatch - position) for position in range(high - low)]
        runs = []
        start = low
        for rate, group in itertools.groupby(rates):
            stop = start + len(list(group))
            runs.append((start, stop, rate))
            start = stop
        return runs

    def losses(self) -> list[dict[str, float]]:
        """Return the local losses of each component on its last mini-batch."""
        return [
            {name: loss[position].item() for name, loss in losses.items()} for losses, position in self._last_losses
        ]

    def moments(self, slot: int) -> Moments:
        """Return Adam's state of one component by parameter name; empty before its first update."""
        if not self._steps[0][slot]:
            return {}
        means = self._views(self._means, slot, slot + 1)
        squares = self._views(self._squares, slot, slot + 1)
        return {
            name: {
                "step": self._steps[column.group][slot].clone(),
                "exp_avg": means[name].reshape(column.shape).clone(),
                "exp_avg_sq": squares[name].reshape(column.shape).clone(),
            }
            for name, column in self._columns.items()
        }

    def load_moments(self, slot: int, moments: Moments) -> None:
        """Take Adam's state of one component, as `moments` returns it."""
        means = self._views(self._means, slot, slot + 1)
        squares = self._views(self._squares, slot, slot + 1)
        for name, column in self._columns.items():
            saved = moments.get(name)
            self._steps[column.group][slot] = saved["step"] if saved else 0.0
            means[name].copy_(saved["exp_avg"].view(means[name].shape) if saved else torch.zeros(()))
            squares[name].copy_(saved["exp_avg_sq"].view(squares[name].shape) if saved else torch.zeros(()))
