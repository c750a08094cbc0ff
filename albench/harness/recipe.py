"""Recipe: what ``albench train`` trains and how, checked before torch is imported: bad input is told at once."""

from __future__ import annotations

from dataclasses import dataclass

from albench.errors import UsageError
from albench.harness.grid import Contender
from albench.harness.scenario import Scenario
from albench.machine import launched_processes, usable_cores
from albench.methods import method_named
from albench.methods.cutting import microbatch_fault


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
            hidden_layers=self.hidden_layers,
            width=self.width,
            bridge_width=self.bridge_width,
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

    def _fewest_microbatches(self, lanes: int) -> int:
        """Return the smallest M of the method that batch size and schedule allow; 1 where it has none."""
        tried = method_named(self.method).microbatches or (1,)

        def possible(microbatches: int) -> bool:
            return not microbatch_fault(
                self.method, lanes=lanes, batch_size=max(1, self.batch_size), microbatches=microbatches
            )

        return next(filter(possible, tried), tried[0])
