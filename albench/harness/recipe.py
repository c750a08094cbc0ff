"""Recipe: what ``albench train`` trains and how, checked before torch is imported: bad input is told at once."""

from __future__ import annotations

from dataclasses import dataclass

from albench.errors import UsageError
from albench.harness.scenario import Scenario
from albench.harness.suites import Contender
from albench.machine import usable_cores
from albench.methods import method_named


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

    def __post_init__(self) -> None:
        """Refuse what would train nothing."""
        if self.epochs < 1:
            raise UsageError(f"epochs is {self.epochs}: give a whole number of at least 1")
        if self.lanes is not None and self.lanes < 1:
            raise UsageError(f"lanes is {self.lanes}: give a whole number of at least 1")
        self.scenario(1)  # checks the rest

    def scenario(self, minibatches: int) -> Scenario:
        """Return the scenario that trains so many mini-batches."""
        contender = Contender(method=self.method, engine=self.engine or method_named(self.method).engines[0])
        return Scenario(
            method=contender.method,
            engine=contender.engine,
            dataset=self.dataset,
            hidden_layers=self.hidden_layers,
            width=self.width,
            bridge_width=self.bridge_width,
            batch_size=self.batch_size,
            minibatches=minibatches,
            learning_rate=self.learning_rate,
            lanes=self.lanes or (usable_cores() if contender.takes_lanes else 1),
            seed=self.seed,
            purpose="accuracy",
        )
