"""Recipe: what ``albench train`` trains and how, checked before torch is imported: bad input is told at once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from albench.data.augmentation import augmentation_named
from albench.decay import DECAYED, Decayed
from albench.errors import UsageError, unknown_name
from albench.harness.grid import Contender
from albench.harness.rates import RateStep, SteppedRate, check_steps
from albench.harness.scenario import Scenario
from albench.machine import launched_processes, usable_cores
from albench.methods import SCHEDULED, WITH_ADAM_OPTIONS, method_named
from albench.methods.cutting import microbatch_fault
from albench.networks.spec import BridgeForm

EPSILONS = ("torch", "tensorflow")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train and how."""

    method: str
    engine: str | None
    """None: the method's first engine."""
    dataset: str
    hidden_layers: int
    width: int
    bridge_width: int | None
    batch_size: int
    epochs: int
    learning_rate: float
    lanes: int | None
    """None: every core, where the engine can use it."""
    seed: int
    microbatches: int | None = None
    """None: the fewest that the method is tried with and that can be."""
    replicas: int = 1
    device: str = "cpu"
    network: str = "mlp"
    bridge: BridgeForm = "flat"
    rate_steps: tuple[RateStep, ...] = ()
    """Where the rate goes down, in shares of all mini-batches."""
    weight_decay: float = 0.0
    """L2 penalty: ``weight_decay``·w is added to the gradient of each decayed weight w."""
    decayed: Decayed = "all"
    """Which parameters the penalty is for."""
    epsilon: str = "torch"
    """Where Adam's ε stands: as in "torch", or as in "tensorflow", before the bias correction."""
    augmentation: str = "none"
    """What chance changes in training images; `albench.data.augmentation` names it."""

    def __post_init__(self) -> None:
        """Refuse what would train nothing, and what the method has no use for."""
        if self.epochs < 1:
            raise UsageError(f"epochs is {self.epochs}: give a whole number of at least 1")
        if self.lanes is not None and self.lanes < 1:
            raise UsageError(f"lanes is {self.lanes}: give a whole number of at least 1")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UsageError(f"weight decay is {self.weight_decay}: give a finite number of at least 0")
        if self.decayed not in DECAYED:
            raise unknown_name("kind of decayed parameters", self.decayed, DECAYED)
        if self.epsilon not in EPSILONS:
            raise unknown_name("epsilon", self.epsilon, EPSILONS)
        augmentation_named(self.augmentation)
        check_steps(self.rate_steps)
        self.scenario(1)  # checks the rest
        method = method_named(self.method)
        title = method.title
        if self.device != "cuda" and self.engine in method.cuda_engines:
            others = [name for name in method.engines if name not in method.cuda_engines]
            raise UsageError(
                f"engine is {self.engine!r} and device {self.device!r}: it runs on a CUDA device only, "
                f"give device 'cuda', or engine {' or '.join(others)}"
            )
        if self.rate_steps and self.method not in SCHEDULED:
            raise UsageError(
                f"the rate has {len(self.rate_steps)} steps: {title} trains at one rate, "
                f"give method {' or '.join(SCHEDULED)}"
            )
        if (self.weight_decay or self.epsilon != "torch") and self.method not in WITH_ADAM_OPTIONS:
            raise UsageError(
                f"weight decay is {self.weight_decay} and epsilon {self.epsilon!r}: {title} takes neither, "
                "give 0 and 'torch'"
            )

    def scenario(self, minibatches: int) -> Scenario:
        """Return the scenario that trains so many mini-batches."""
        contender = Contender(method=self.method, engine=self.engine or method_named(self.method).engines[0])
        launched = launched_processes() or 1
        if launched > 1 and contender.engine != "ranks" and contender.method != "al-ddp":
            raise UsageError(
                f"{launched} processes were launched and method {contender.method!r} on engine {contender.engine!r} "
                "runs in one: start it without a launcher"
            )
        # Of the processes that a launcher started each is a lane, or a copy of all lanes.
        copies = contender.method == "al-ddp"
        useful = launched if launched > 1 and not copies else usable_cores() if contender.takes_lanes else 1
        lanes = self.lanes or useful
        return Scenario(
            method=contender.method,
            engine=contender.engine,
            dataset=self.dataset,
            network=self.network,
            hidden_layers=self.hidden_layers,
            width=self.width,
            bridge_width=self.bridge_width,
            bridge=self.bridge,
            batch_size=self.batch_size,
            minibatches=minibatches,
            learning_rate=self.learning_rate,
            lanes=lanes,
            microbatches=self.microbatches if self.microbatches is not None else self._fewest_microbatches(lanes),
            replicas=launched if copies and self.replicas == 1 else self.replicas,
            device=self.device,
            seed=self.seed,
            purpose="accuracy",
        )

    def rate(self, minibatches: int) -> float | SteppedRate:
        """Return the base rate of a run of so many mini-batches, or what tells that of each."""
        if not self.rate_steps:
            return self.learning_rate
        return SteppedRate(base=self.learning_rate, steps=self.rate_steps, minibatches=minibatches)

    def training_options(self, minibatches: int) -> dict[str, Any]:
        """Return what a trainer is told beside its scenario."""
        return {
            "learning_rate": self.rate(minibatches),
            "weight_decay": self.weight_decay,
            "decayed": self.decayed,
            "epsilon": self.epsilon,
        }

    def settings(self) -> dict[str, Any]:
        """Return all of it as plain data, what was left to the machine filled in: what decides how a run ends."""
        chosen = self.scenario(1)
        filled = {name: getattr(chosen, name) for name in ("engine", "lanes", "microbatches", "replicas")}
        return dataclasses.asdict(self) | {"rate_steps": [[step.at, step.factor] for step in self.rate_steps]} | filled

    def _fewest_microbatches(self, lanes: int) -> int:
        """Return the smallest M of the method that batch size and schedule allow; 1 where it has none."""
        tried = method_named(self.method).microbatches or (1,)

        def possible(microbatches: int) -> bool:
            return not microbatch_fault(
                self.method, lanes=lanes, batch_size=max(1, self.batch_size), microbatches=microbatches
            )

        return next(filter(possible, tried), tried[0])
