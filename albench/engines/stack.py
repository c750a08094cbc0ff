"""Stack: K components of equal shape as one module whose weights have a leading dimension K.

One call of a stack does the work of K tasks, each component on its own features, target and weights: a linear layer
becomes one batched matrix product, an activation one elementwise kernel, and Adam one fused call. The number of
launches does not grow with K.

All parameters lie in one buffer, one row a component, group after group:

    slot 0     [ f.weight … f.bias … b.weight … b.bias … | g.weight … g.bias … h.weight … h.bias … ]
    slot 1     [                    …                    |                     …                   ]

Columns, seen through strides, are the stacked weights ``[K, in, out]`` of the forward pass; rows, or the whole, are
what Adam updates (`albench.engines.adam`).

A stack runs in two ways. `run` takes any of its slots, launch by launch, and is what short runs and odd mini-batches
use. `advance` always takes all of them, told by tensors which are active and at which rate they learn, so that a tick
made of it (`albench.engines.tick`) can be captured or compiled once and be right from filling to draining.
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
from albench.engines.adam import as_read_on, keep_idle, update_rows, update_whole
from albench.engines.chain import Bound, Chain, StackedLinear
from albench.engines.options import EngineOptions
from albench.engines.stackability import (
    ROW_BY_ROW,
    difference,
    has_written_pass,
    layers_of,
    refusal,
    shape_signature,
)
from albench.engines.state import Moments, named_parameters
from albench.engines.trial import check_gradients, check_update, on_trial
from albench.errors import UsageError


class Column(NamedTuple):
    """Where one parameter lies in the rows."""

    group: int
    start: int
    stop: int
    shape: tuple[int, ...]
    """As the component has it."""

    @property
    def stacked_shape(self) -> tuple[int, int]:
        """``(in, out)`` of a weight, ``(1, out)`` of a bias."""
        return (self.shape[1], self.shape[0]) if len(self.shape) == 2 else (1, self.shape[0])


class Stack:
    """Neighbouring components of equal `shape_signature`, trained as one; slot j is the j-th of them."""

    def __init__(self, components: Sequence[Component], options: EngineOptions, first: int = 0) -> None:
        """`first`: index of the first of them in its network, for messages."""
        self.components = list(components)
        self._options = options
        self._first = first
        self._signature = shape_signature(components[0])
        self._shown: set[int] = set()
        """With how many slots at once a pass has shown that the promise `stackable` is kept."""
        self._columns: dict[str, Column] = {}
        names = {id(parameter): name for name, parameter in named_parameters(components[0]).items()}
        groups = components[0].parameter_groups()
        self._group_rates = [group.rate for group in groups]
        self._group_decays = [options.weight_decay * group.weight_decay for group in groups]
        start = 0
        for g, group in enumerate(groups):
            for parameter in group.parameters:
                stop = start + parameter.numel()
                self._columns[names[id(parameter)]] = Column(g, start, stop, tuple(parameter.shape))
                start = stop
        like = groups[0].parameters[0]
        count = len(self.components)
        self._weights, self._gradients, self._means, self._squares = (
            torch.zeros(count, start, dtype=like.dtype, device=like.device) for _ in range(4)
        )
        # Adam counts in float32 whatever the type of the weights, as torch.optim does.
        self.steps = torch.zeros(count, dtype=torch.float32, device=like.device)
        """Updates made, ``[K]``."""
        self._group_rows = [self._rows_of_group(g) for g in range(len(groups))]
        self._step_rows = list(self.steps)
        self._rates_P = self._by_column(self._group_rates)
        self._decay: float | Tensor = self._group_decays[0]
        """Weight decay of all columns, or of each ``[P]``."""
        if len(set(self._group_decays)) > 1:
            self._decay = self._by_column(self._group_decays)
        self._bound = Bound()
        self._linears: dict[str, StackedLinear] = {}
        self._module = self._stacked(cast("nn.Module", components[0]), "")
        # In the order of the linear layers, in which a reverse pass finds the gradients.
        self._names = [name for linear in self._linears.values() for name in (linear.weight, linear.bias)]
        children = list(self._module.children())
        self._explicit = has_written_pass(type(self._module)) and all(isinstance(c, Chain) for c in children)
        self._whole = self._leaves(0, count)
        self._whole_gradients = self._gradient_views(0, count)
        self._flat = {
            name: [b[:, c.start : c.stop] for b in (self._weights, self._means, self._squares)]
            for name, c in self._columns.items()
        }
        self._slot_weights = [self._of_component(self._weights, slot) for slot in range(count)]
        self._losses: dict[str, Tensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle a stack by making it anew: most of it are views, which a copy would cut apart."""
        state = {"buffers": self.buffers, "losses": self._losses, "shown": self._shown}
        return Stack, (self.components, self._options, self._first), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for buffer, saved in zip(self.buffers, state["buffers"], strict=True):
            buffer.copy_(saved)
        self._losses, self._shown = state["losses"], state["shown"]

    def __len__(self) -> int:
        return len(self.components)

    @property
    def buffers(self) -> list[Tensor]:
        """What training changes: weights, Adam's state and updates made."""
        return [self._weights, self._means, self._squares, self.steps]

    def _stacked(self, module: nn.Module, name: str) -> nn.Module:
        """Return a twin of a module whose linear layers are stacked."""
        if isinstance(module, nn.Linear):
            return self._linears.setdefault(name, StackedLinear(self._bound, name))
        if isinstance(module, ROW_BY_ROW):
            return module
        if isinstance(module, nn.Flatten):
            return nn.Flatten(module.start_dim + 1, module.end_dim)
        prefix = f"{name}." if name else ""
        parts = {k: None if m is None else self._stacked(m, prefix + k) for k, m in module._modules.items()}
        layers = [part for part in parts.values() if part is not None]
        if type(module) is nn.Sequential and all(map(Chain.accepts, layers)):
            return Chain(layers)
        twin = copy.copy(module)
        twin._modules = {**parts}
        return twin

    def _by_column(self, of_groups: Sequence[float]) -> Tensor:
        """Return a number a column ``[P]``, that of its group."""
        kind = self._weights.dtype
        parts = [torch.full((c.stop - c.start,), of_groups[c.group], dtype=kind) for c in self._columns.values()]
        return torch.cat(parts).to(self._weights.device)

    def _rows_of_group(self, group: int) -> list[list[Tensor]]:
        """Return the rows of weights, gradients, means and squares that are one group's."""
        columns = [column for column in self._columns.values() if column.group == group]
        start, stop = columns[0].start, columns[-1].stop
        return [list(b[:, start:stop]) for b in (self._weights, self._gradients, self._means, self._squares)]

    def _views(self, buffer: Tensor, low: int, high: int) -> dict[str, Tensor]:
        """Return the parameters of slots low … high-1, stacked: weights ``[k, in, out]``, biases ``[k, 1, out]``."""
        return {
            name: buffer[low:high, column.start : column.stop].view(high - low, *column.stacked_shape)
            for name, column in self._columns.items()
        }

    def _of_component(self, buffer: Tensor, slot: int) -> dict[str, Tensor]:
        """Return the parameters of one slot as views of the shapes that the component gives them."""
        return {
            name: view[0].mT if len(self._columns[name].shape) == 2 else view[0, 0]
            for name, view in self._views(buffer, slot, slot + 1).items()
        }

    def _leaves(self, low: int, high: int) -> dict[str, Tensor]:
        """Return the weights of slots low … high-1; those that autograd is to differentiate by ask for it."""
        views = self._views(self._weights, low, high)
        return views if self._explicit else {k: v.detach().requires_grad_(True) for k, v in views.items()}

    def _gradient_views(self, low: int, high: int) -> list[Tensor]:
        views = self._views(self._gradients, low, high)
        return [views[name] for name in self._names]

    def check_unchanged(self) -> None:
        """Raise `UsageError` if the network has moved, or if what must agree among the components does no more."""
        like = next(iter(named_parameters(self.components[0]).values()))
        if (like.device, like.dtype) != (self._weights.device, self._weights.dtype):
            raise UsageError(
                f"the network is {like.dtype} on {like.device} and was {self._weights.dtype} on "
                f"{self._weights.device}: move a network before its engine is made"
            )
        for i, component in enumerate(self.components, self._first):
            layers = layers_of(component)
            if layers != self._signature.layers:
                changed = difference(self._signature, self._signature._replace(layers=layers))
                reason = refusal(component) or "a stack computes with what it was"
                raise UsageError(
                    f"component {i} has changed since its engine was made, in {changed} ({reason}): make the engine "
                    "again, or use engine 'serial'"
                )

    def gather(self) -> None:
        """Copy the components' weights into the stack, which `check_unchanged` found as it was made."""
        with torch.no_grad():
            held, parameters = self._weights_and_parameters()
            torch._foreach_copy_(held, parameters)

    def scatter(self) -> None:
        """Copy the stack's weights back into the components."""
        with torch.no_grad():
            held, parameters = self._weights_and_parameters()
            torch._foreach_copy_(parameters, held)

    def _weights_and_parameters(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return where the stack has the weights of all slots, and in the same order where the components have them.

        All are copied with one call: they are as many as the network is deep, and a training starts and ends with it.
        """
        pairs = [
            (views[name], parameter)
            for component, views in zip(self.components, self._slot_weights, strict=True)
            for name, parameter in named_parameters(component).items()
        ]
        return [view for view, _ in pairs], [parameter for _, parameter in pairs]

    def run(self, minibatch: int, low: int, high: int, features: Tensor, target: Target) -> tuple[Tensor, Target]:
        """Run the tasks of slots low … high-1: slot low on mini-batch `minibatch`, each next slot on the one before.

        features ``[k, B, …]`` and every tensor of the target have one entry a slot, and so has what is returned.
        """
        whole = high - low == len(self)
        update, found = self._derive(low, self._whole if whole else self._leaves(low, high), features, target)
        gradients = self._whole_gradients if whole else self._gradient_views(low, high)
        torch._foreach_copy_(gradients, found)
        self._shown.add(high - low)
        self._step(minibatch, low, high)
        for held, loss in zip(self._held_losses(update.losses), update.losses.values(), strict=True):
            held[low:high].copy_(loss.detach())
        return update.features, update.target

    def probe(self, features: Tensor, target: Target) -> tuple[Tensor, Target]:
        """Return what slot 0 would hand on, ``[1, B, …]``, and train nothing."""
        update, _ = self._derive(0, self._leaves(0, 1), features, target)
        self._shown.add(1)
        self._held_losses(update.losses)
        return update.features, update.target

    def advance(
        self,
        features: Tensor,
        target: Target,
        *,
        rate: Tensor,
        root_correction: Tensor,
        active: Tensor | None,
        by_column: bool,
    ) -> tuple[Tensor, Target]:
        """Run the tasks of all slots that `active` ``[K]`` marks (None: of all): nothing here depends on a value.

        `rate` ``[K]`` is each slot's base rate times Adam's first correction, `root_correction` ``[K]`` the second.
        `by_column`: Adam goes parameter by parameter, for a compiler that fuses it with what finds the gradient;
        else all at once, for few launches.
        """
        rate_K1, root_K1 = rate.unsqueeze(1), root_correction.unsqueeze(1)
        active_K1 = None if active is None else active.unsqueeze(1)
        leaves = self._whole
        if by_column:
            leaves = {n: self._flat[n][0].view(len(self), *c.stacked_shape) for n, c in self._columns.items()}
        if not self._explicit:
            # New ones: a leaf remembers on which stream its gradient was first asked for, and a recording has its own.
            leaves = {name: leaf.detach().requires_grad_(True) for name, leaf in leaves.items()}
        update, found = self._derive(0, leaves, features, target)
        by_name = {name: gradient.flatten(1) for name, gradient in zip(self._names, found, strict=True)}
        fused = active is None and not by_column and not callable(self._options.learning_rate)
        if fused:
            # All rows learn at one rate: the fused kernel reads and writes everything once.
            torch.cat([by_name[name] for name in self._columns], 1, out=self._gradients)
            self.steps.add_(1)
            assert not callable(self._options.learning_rate)
            self._update_slots(0, len(self), self._options.learning_rate)
        elif by_column:
            for name, column in self._columns.items():
                weights, means, squares = self._flat[name]
                update_whole(
                    weights,
                    by_name[name],
                    means,
                    squares,
                    rate=rate_K1 * self._group_rates[column.group],
                    root_correction=root_K1,
                    weight_decay=self._group_decays[column.group],
                    active=active_K1,
                )
        else:
            update_whole(
                self._weights,
                torch.cat([by_name[name] for name in self._columns], 1),
                self._means,
                self._squares,
                rate=rate_K1 * self._rates_P,
                root_correction=root_K1,
                weight_decay=self._decay,
                active=active_K1,
            )
        if not fused:
            self.steps.add_(1 if active is None else active)
        losses = [loss.detach() for loss in update.losses.values()]
        keep_idle([self._losses[name] for name in update.losses], losses, active)
        return update.features, update.target

    def _derive(
        self, low: int, leaves: dict[str, Tensor], features: Tensor, target: Target
    ) -> tuple[Update, list[Tensor]]:
        """Return what slots `low` … compute and the gradients of their losses, one a parameter as in ``_names``.

        Raises `UsageError` if that shows that the components cannot be stacked after all.
        """
        if self._shown:
            return self._derive_shown(low, leaves, features, target)
        derive = functools.partial(self._derive_shown, low, leaves, features, target)
        return on_trial(derive, self.components[low], self._module, self._name_of(low), features, target)

    def _derive_shown(
        self, low: int, leaves: dict[str, Tensor], features: Tensor, target: Target
    ) -> tuple[Update, list[Tensor]]:
        self._bound.bind(leaves)
        found: list[Tensor | None]
        if self._explicit:
            with torch.no_grad():
                update: Update = self._module.explicit_update(features, target)  # type: ignore[operator]
            self._check(low, update, len(features))
            found = [self._bound.gradients.get(name) for name in self._names]
        else:
            with torch.enable_grad():
                update = refuse_graph(self._module(features, target))
                self._check(low, update, len(features))
                total = functools.reduce(operator.add, update.losses.values()).sum()
                found = list(torch.autograd.grad(total, [leaves[name] for name in self._names], allow_unused=True))
        self._bound.clear()
        return update, check_gradients(found, self._names, self._name_of(low))

    def _check(self, low: int, update: Update, count: int) -> None:
        if count not in self._shown:
            check_update(update, count, self._name_of(low))

    def _name_of(self, slot: int) -> str:
        return f"component {self._first + slot}"

    def _held_losses(self, losses: dict[str, Tensor]) -> list[Tensor]:
        """Return where the losses of all slots are kept, ``[K]`` each; NaN where there was none yet."""
        for name, loss in losses.items():
            if name not in self._losses:
                self._losses[name] = torch.full((len(self),), torch.nan, dtype=loss.dtype, device=loss.device)
        return [self._losses[name] for name in losses]

    def _step(self, minibatch: int, low: int, high: int) -> None:
        """Update slots low … high-1 with Adam: one fused call for each group and each run of slots at the same rate."""
        self.steps[low:high].add_(1)
        for start, stop, base in self._equal_rates(minibatch, low, high):
            self._update_slots(start, stop, base)

    def _update_slots(self, start: int, stop: int, base: float) -> None:
        """Update slots start … stop-1 at one base rate; their steps count this update already."""
        for rows, rate, decay in zip(self._group_rows, self._group_rates, self._group_decays, strict=True):
            weights, gradients, means, squares = (r[start:stop] for r in rows)
            update_rows(
                weights,
                gradients,
                means,
                squares,
                self._step_rows[start:stop],
                rate=as_read_on(self._weights.device, base * rate),
                weight_decay=decay,
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
        columns = {name: values.tolist() for name, values in self._losses.items()}
        return [{name: values[slot] for name, values in columns.items()} for slot in range(len(self))]

    def moments(self, slot: int) -> Moments:
        """Return Adam's state of one component by parameter name; empty before its first update."""
        if not self.steps[slot]:
            return {}
        means, squares = (self._of_component(buffer, slot) for buffer in (self._means, self._squares))
        return {
            name: {
                "step": self.steps[slot].clone(),
                "exp_avg": means[name].clone(memory_format=torch.contiguous_format),
                "exp_avg_sq": squares[name].clone(memory_format=torch.contiguous_format),
            }
            for name in self._columns
        }

    def load_moments(self, slot: int, moments: Moments) -> None:
        """Take Adam's state of one component, as `moments` returns it."""
        steps = {float(moments[name]["step"]) if name in moments else 0.0 for name in self._columns}
        if len(steps) > 1:
            raise UsageError(
                f"the state has parameters of one component after {sorted(steps)} updates, and a stack updates all of "
                "them: use engine 'serial'"
            )
        self.steps[slot] = steps.pop()
        means, squares = (self._of_component(buffer, slot) for buffer in (self._means, self._squares))
        for name in self._columns:
            saved = moments.get(name)
            means[name].copy_(saved["exp_avg"] if saved else torch.zeros(()))
            squares[name].copy_(saved["exp_avg_sq"] if saved else torch.zeros(()))
