"""DTP: difference target propagation (Lee, Zhang, Fischer, Bengio 2015) on the MLP, the paper's third method.

Layers f_1 … f_M lead from x to the scores, and feedback functions g_2 … g_{M-1} lead back. A layer learns to reach a
target, not from a gradient that came through the layers above it:

    h_i = f_i(h_{i-1}),  h_0 = x                            forward pass; tanh, and a softmax at the top
    ĥ_{M-1} = h_{M-1} - η̂·∂L/∂h_{M-1}                       first target, L the cross-entropy of one instance
    ĥ_{i-1} = h_{i-1} + g_i(ĥ_i) - g_i(h_i)                 difference targets, i = M-1 … 2
    L_i     = ‖f_i(h_{i-1}) - ĥ_i‖²                         moves f_i only; L_M = L
    L_i^inv = ‖g_i(f_i(h_{i-1} + ε)) - (h_{i-1} + ε)‖²      moves g_i only; ε ~ N(0, σ²)

Norms are sums over units and means over the mini-batch. All of one step is computed from the weights before it, as the
order of the paper's Algorithm 1 has it, and nothing but values crosses from one layer to another.

What comes from where:
* From Lee et al.: the equations, tanh, orthogonal weights, zero biases.
* From their published code: centred RMSprop, its averaging and its momentum. It trains g for an epoch and then f for an
  epoch; here both learn from every mini-batch, as Algorithm 1 has it.
* Found here, on MNIST with a width of up to 256: the rates, η̂, σ and the stabiliser, torch's, which is added to the
  root. Theirs belong to seven layers of 240 units: f at 0.0149, g at 0.0050, σ = 0.36, 0.001 added under the root, and
  η̂ = 0.33 times the gradient of the mean loss of 100 instances. Here η̂ is that of one instance's loss, so that a target
  does not depend on the batch size.
* The AL paper compares with DTP (96.43 % on MNIST) and published no setting of it: no number here is known to be
  theirs. The layers are those of BP's network in that comparison, 1024, 1024, 5120, 1024, 1024 and 10.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from albench.engines.batch import Batch, as_allocated, check_batch
from albench.engines.engine import intra_op_threads
from albench.engines.options import EngineOptions
from albench.engines.precision import exact_arithmetic
from albench.engines.state import moments_fit
from albench.errors import UsageError, unknown_name
from albench.methods.flops import counted, without_data
from albench.methods.kept_state import refuse_unfit
from albench.methods.trainer import Trainer, TrainerOptions
from albench.networks.initialisation import component_generator

FIRST_TARGET_STEP = 0.1
"""η̂: how far the top hidden layer's target lies from its output, along the gradient of an instance's own loss."""
NOISE = 0.3
"""σ of what is added to a layer's input where its inverse is learnt."""
FEEDBACK_RATE = 3.0
"""g learns at so many times f's rate: it has to follow an f that moves."""
AVERAGING, MOMENTUM = 0.95, 0.9
STABILISER = 1e-4

FORMAT, VERSION = "albench-dtp", 1
MOMENTS = ("step", "square_avg", "grad_avg", "momentum_buffer")
"""What RMSprop keeps for each parameter: updates made, mean square and mean of the gradient, velocity."""

Noise = Callable[[Tensor], Tensor]
"""From a tensor to one like it that is drawn from N(0, σ²)."""


class DifferenceTargetNetwork(nn.Module):
    """The layers f_i and their feedback functions g_i."""

    def __init__(self, *, in_features: int, widths: Sequence[int], classes: int, seed: int) -> None:
        """Build f_1 … f_M of `widths` hidden units and C scores, and g_2 … g_{M-1}, all drawn from `seed`."""
        super().__init__()
        generator = component_generator(seed, 0)
        layers: list[nn.Module] = [nn.Flatten()]
        for units_in, units in itertools.pairwise([in_features, *widths]):
            layers += [_orthogonal(units_in, units, generator), nn.Tanh()]
        layers.append(_orthogonal(widths[-1], classes, generator))
        self.predictor = nn.Sequential(*layers)
        """f_M ∘ … ∘ f_1, from x ``[B, …]`` to scores ``[B, C]``."""
        self.feedback = nn.ModuleList(
            nn.Sequential(_orthogonal(units, units_below, generator), nn.Tanh())
            for units_below, units in itertools.pairwise(widths)
        )
        """g_2 … g_{M-1}."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores ``[B, C]`` for x ``[B, …]``."""
        scores: Tensor = self.predictor(x)
        return scores

    def local_gradients(self, x: Tensor, y: Tensor, noise: Noise) -> list[dict[str, Tensor]]:
        """Add the gradient of every local loss to the weights' own; return the losses of each layer, bottom first.

        x ``[B, …]``, y ``[B]`` labels or ``[B, C]`` targets. No loss has a graph to any layer but its own.
        """
        *hidden, top = self._layers()
        inputs, outputs = [x.flatten(1)], []  # h_0 … h_{M-1}; h_1 … h_{M-1} with a graph to their own f
        for layer in hidden:
            outputs.append(layer(inputs[-1]))
            inputs.append(outputs[-1].detach())
        highest = inputs[-1].requires_grad_()
        loss = F.cross_entropy(top(highest), y)
        _backward(loss)
        losses = [{"cross-entropy": loss.detach()}]
        assert highest.grad is not None
        # The gradient of the mean loss is 1/B of that of an instance's own.
        target = highest.detach() - FIRST_TARGET_STEP * len(x) * highest.grad
        for i in range(len(hidden) - 1, -1, -1):
            layer_loss = _squared_distance(outputs[i], target)
            _backward(layer_loss)
            losses.append({"layer": layer_loss.detach()})
            if i > 0:
                below, above, inverse = inputs[i], inputs[i + 1].detach(), self.feedback[i - 1]
                with torch.no_grad():
                    target = below + inverse(target) - inverse(above)
                    corrupted = below + noise(below)
                    image = hidden[i](corrupted)
                inverse_loss = _squared_distance(inverse(image), corrupted)
                _backward(inverse_loss)
                losses[-1]["inverse"] = inverse_loss.detach()
        return losses[::-1]

    def _layers(self) -> list[nn.Sequential]:
        """Return f_1 … f_M on flat inputs."""
        flat = self.predictor[1:]
        return [flat[i : i + 2] for i in range(0, len(flat), 2)]


def _orthogonal(units_in: int, units: int, generator: torch.Generator) -> nn.Linear:
    layer: nn.Linear = skip_init(nn.Linear, units_in, units)  # type: ignore[no-untyped-call]
    nn.init.orthogonal_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _squared_distance(output: Tensor, target: Tensor) -> Tensor:
    """Return ‖output - target‖², a sum over units and a mean over the mini-batch."""
    return (output - target).square().sum(1).mean()


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


class DifferenceTargetTrainer(Trainer):
    """An MLP that learns from targets, on one process and K intra-op threads."""

    lane_kind = "intra-op-thread"

    def __init__(self, options: TrainerOptions) -> None:
        if options.engine != "eager":
            raise unknown_name("engine of method 'dtp'", options.engine, ["eager"])
        self.device = options.device
        device = torch.device(options.device)
        if device.type == "cuda":
            self.lane_kind = "cuda-stream"
        self._network = DifferenceTargetNetwork(
            in_features=options.in_features, widths=_widths(options), classes=options.classes, seed=options.seed
        ).to(device=device, dtype=options.dtype)
        forwards, feedbacks = (list(part.parameters()) for part in (self._network.predictor, self._network.feedback))
        self._rates = EngineOptions(learning_rate=options.learning_rate)
        self._optimizer = torch.optim.RMSprop(
            [{"params": part} for part in (forwards, feedbacks) if part],
            alpha=AVERAGING,
            eps=STABILISER,
            momentum=MOMENTUM,
            centered=True,
        )
        # Of the noise alone, after the generators of the weights.
        self._generator = torch.Generator(device).manual_seed(component_generator(options.seed, 1).initial_seed())
        self._classes = options.classes
        self._minibatches_seen = 0
        self._last_losses: list[dict[str, Tensor]] = []
        self.lanes = options.lanes
        self.components = len(self._network.feedback) + 2
        self.effective_parameters = sum(p.numel() for p in forwards)
        self.affiliated_parameters = sum(p.numel() for p in feedbacks)

    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Train on mini-batches and go back to where training was."""
        state, losses = self.state_dict(), self._last_losses
        self.train(batches)
        self.load_state_dict(state)
        self._last_losses = losses

    def train(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches: one update of every f and every g each."""
        like = next(self._network.parameters())
        with torch.enable_grad(), intra_op_threads(self.lanes), exact_arithmetic(like.device):
            for batch in batches:
                x, y = check_batch(batch, minibatch=self._minibatches_seen, classes=self._classes, like=like)
                if x.is_cuda:
                    x, y = as_allocated(x), as_allocated(y)
                rate = self._rates.rate_at(self._minibatches_seen)
                for group, share in zip(self._optimizer.param_groups, (1.0, FEEDBACK_RATE), strict=False):
                    group["lr"] = share * rate
                self._optimizer.zero_grad(set_to_none=True)
                self._last_losses = self._network.local_gradients(x, y, self._noise)
                self._optimizer.step()
                self._minibatches_seen += 1

    def _noise(self, like: Tensor) -> Tensor:
        drawn = torch.randn(like.shape, generator=self._generator, dtype=like.dtype, device=like.device)
        return NOISE * drawn

    def predict(self, x: Tensor) -> Tensor:
        """Return the scores before the softmax for x ``[B, …]``."""
        scores: Tensor = self._network(x)
        return scores

    @property
    def network(self) -> nn.Module:
        """The layers f_1 … f_M, which predict."""
        return self._network.predictor

    @property
    def losses(self) -> list[dict[str, float]]:
        """The local losses of the last mini-batch, one entry a layer; the first has no inverse."""
        return [{name: value.item() for name, value in one.items()} for one in self._last_losses]

    def flops(self, batch: Batch) -> int:
        """Return the floating-point operations of the matrix products of one step on `batch`."""
        copied = without_data(self._network)
        x, y = (torch.empty_like(tensor, device="meta") for tensor in batch)

        def passes() -> None:
            copied.local_gradients(x, y, torch.zeros_like)

        return counted(passes)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, RMSprop's state, mini-batches seen and the generator, as they are now: a snapshot."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "minibatches": self._minibatches_seen,
            "weights": {name: value.clone() for name, value in self._network.state_dict().items()},
            "optimizer": {
                name: {moment: self._optimizer.state[parameter][moment].clone() for moment in MOMENTS}
                for name, parameter in self._network.named_parameters()
                if parameter in self._optimizer.state
            },
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; `UsageError` for a state of another network or kind."""
        parameters = dict(self._network.named_parameters())
        _check_state(state, self._network, self._generator)
        self._network.load_state_dict(state["weights"])
        self._optimizer.state.clear()
        for name, moments in state["optimizer"].items():
            like = parameters[name]
            self._optimizer.state[like] = {
                # torch counts updates on the CPU, wherever the parameter is.
                moment: value.clone() if moment == "step" else value.to(like.device, copy=True)
                for moment, value in moments.items()
            }
        self._generator.set_state(state["generator"].cpu())
        self._minibatches_seen = state["minibatches"]
        self._optimizer.zero_grad(set_to_none=True)


def _widths(options: TrainerOptions) -> list[int]:
    """Return the units of the hidden layers: those of BP's network with the same options."""
    if options.hidden_layers < 1:
        raise UsageError(f"hidden_layers is {options.hidden_layers}: give a whole number of at least 1")
    widths = [options.width] * options.hidden_layers
    if options.bridge_width is not None:
        if options.hidden_layers % 2:
            raise UsageError(f"hidden_layers is {options.hidden_layers}: a bridge in the middle needs an even number")
        widths.insert(options.hidden_layers // 2, options.bridge_width)
    return widths


def _check_state(state: Any, network: nn.Module, generator: torch.Generator) -> None:
    """Raise `UsageError` unless `state` fits."""
    refuse_unfit(state, network, method="dtp", version=VERSION, fields={"generator"})
    if not moments_fit(state["optimizer"], dict(network.named_parameters()), MOMENTS):
        raise UsageError("the optimizer's state does not fit the network's parameters")
    if getattr(state["generator"], "shape", None) != generator.get_state().shape:
        raise UsageError("the generator's state is that of another kind of device: go on where the run was")


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return a DTP trainer."""
    return DifferenceTargetTrainer(options)
