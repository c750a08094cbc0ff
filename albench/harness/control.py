"""Control: the same small case of BP, run now and then through a sweep, tells whether the machine kept its pace.

Its records lie between those of the cases, in the order in which they were measured. Where a control is far off
(`albench.analysis.drift`), the cases beside it are flagged and measured again: a further attempt of the same round,
which takes the place of the first. Nothing is deleted: the file keeps both.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from albench.analysis.drift import deviations, is_drift
from albench.harness.records import Record, is_measured
from albench.harness.scenario import Scenario

CONTROL = Scenario(
    method="bp", engine="eager", hidden_layers=4, width=256, batch_size=64, minibatches=200, purpose="control"
)
"""About a quarter of a second of back-propagation on one thread."""
CUDA_CONTROL = dataclasses.replace(CONTROL, engine="graph", width=1024, device="cuda", minibatches=600)
"""The like on a GPU, for a similar time: a CPU that keeps its pace says nothing of a GPU whose clock is held back. As
one CUDA graph a step, or it would tell the host's pace again."""
CONTROL_EVERY_SECONDS = 20.0
"""A case is seldom farther than this from a control; they then take some three per cent of a sweep's time."""
CUDA_CONTROL_EVERY_SECONDS = 60.0
"""The same where a control needs a CUDA context of its own, which takes many times as long as its window."""
RERUN_SHARE = 0.25
"""At most this share of a round's cases is measured again: where a machine never keeps its pace, doing everything twice
would only double the noise, and the flags stay for the reader to see. A round of fewer than four cases is not measured
again at all."""


def controls_of(scenarios: Iterable[Scenario]) -> list[Scenario]:
    """Return the control of each device that scenarios run on."""
    devices = {scenario.device for scenario in scenarios}
    return [control for control in (CONTROL, CUDA_CONTROL) if control.device in devices]


class ControlClock:
    """Says when a control is due; fed by whoever runs the cases."""

    def __init__(self, *, on_cuda: bool = False) -> None:
        self._on_cuda = on_cuda
        self._last = -float("inf")

    @property
    def due(self) -> bool:
        """Whether the last control is long enough ago, or there was none."""
        every_seconds = CUDA_CONTROL_EVERY_SECONDS if self._on_cuda else CONTROL_EVERY_SECONDS
        return time.monotonic() - self._last > every_seconds

    def ran(self) -> None:
        """A control has just run."""
        self._last = time.monotonic()


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A measurement taken while the machine was out of its usual pace."""

    record: Record
    deviation: float
    """How far the control beside it was from its median, as a share: 0.2 is 20 % slower."""


def is_control(record: Record) -> bool:
    """Whether a record is of a control."""
    return record.scenario.purpose == "control"


def without_controls(records: Iterable[Record]) -> list[Record]:
    """Return the records of what was asked for."""
    return [record for record in records if not is_control(record)]


def latest(records: Iterable[Record]) -> list[Record]:
    """Return one record for each round of each case, without controls: the last that was measured, else the last.

    A round has several where a case that failed was tried again, or was measured while the machine was off its pace.
    """
    chosen: dict[tuple[str, int], Record] = {}
    for record in without_controls(records):
        place = (record.key, record.round)
        before = chosen.get(place)
        if before is None or is_measured(record) or not is_measured(before):
            chosen[place] = record
    return list(chosen.values())


def flags(records: Sequence[Record]) -> list[Flag]:
    """Return what was measured while the machine was off its pace, in file order, of the records that count.

    `records` are in the order in which they were measured, controls among them. Controls are compared with those of
    the same machine, device and versions only.
    """
    counting = {id(record) for record in latest(records)}
    alike: dict[str, list[tuple[int, Record]]] = defaultdict(list)
    for place, record in enumerate(records):
        alike[_surroundings(record)].append((place, record))
    found: dict[int, Flag] = {}
    for own in alike.values():
        controls = _relative([(place, record) for place, record in own if is_control(record)])
        cases = [(place, record) for place, record in own if is_measured(record) and id(record) in counting]
        off = deviations([place for place, _ in cases], controls)
        for (place, record), deviation in zip(cases, off, strict=True):
            if is_drift(deviation):
                found[place] = Flag(record=record, deviation=deviation)
    return [flag for _, flag in sorted(found.items())]


def _relative(controls: list[tuple[int, Record]]) -> list[tuple[int, float]]:
    """Return each control's time over the median of its own scenario's: what the control is may have changed since."""
    own: dict[str, list[float]] = defaultdict(list)
    for _, record in controls:
        if record.seconds:
            own[record.key].append(record.seconds)
    return [(place, record.seconds / median(own[record.key])) for place, record in controls if record.seconds]


def _surroundings(record: Record) -> str:
    """Return what has to be the same for two controls to take equally long."""
    packages = record.environment.get("packages")
    torch = packages.get("torch") if isinstance(packages, dict) else None
    cpu, cores = record.environment.get("cpu"), record.environment.get("usable_cores")
    gpus = record.environment.get("gpus") if record.scenario.device == "cuda" else None
    names = [gpu.get("name") for gpu in gpus if isinstance(gpu, dict)] if isinstance(gpus, list) else []
    return f"{record.scenario.device}/{cpu}/{cores}/{torch}/{record.environment.get('platform')}/{names}"
