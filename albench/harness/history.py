"""History: what is on file about a sweep's scenarios, and what follows from it for what is still to run."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from albench.analysis.stopping import MedianKnown
from albench.harness.control import Flag, flags, is_control, latest
from albench.harness.records import Record, is_measured
from albench.harness.scenario import Scenario

SIZES = ("hidden_layers", "width", "batch_size")
"""What makes a case larger, so that it needs more memory."""


class History:
    """The records of a sweep, old and new, in the order in which they were measured."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.all: list[Record] = []
        self._by_key: dict[str, list[Record]] = defaultdict(list)
        self._out_of_memory: list[Record] = []
        for record in records:
            self.add(record)

    def try_again(self) -> None:
        """Let nothing that ran out of memory before keep larger cases from being tried."""
        self._out_of_memory.clear()

    def add(self, record: Record) -> None:
        """Take up a record that was just made."""
        self.all.append(record)
        self._by_key[record.key].append(record)
        place = (record.key, record.round)
        self._out_of_memory = [one for one in self._out_of_memory if (one.key, one.round) != place]
        if record.status == "out-of-memory":
            self._out_of_memory.append(record)

    def has(self, scenario: Scenario, number: int, retry_failed: bool) -> bool:
        """Whether a round of a scenario needs no further run."""
        return any(
            record.round == number and (record.status == "measured" or not retry_failed)
            for record in self._by_key[scenario.key]
        )

    def attempts(self, scenario: Scenario, number: int) -> int:
        """Return how often a round of a scenario was tried."""
        return sum(record.round == number for record in self._by_key[scenario.key])

    def seconds(self, scenario: Scenario) -> list[float]:
        """Return the times of a scenario's rounds that count."""
        mine = latest(self._by_key[scenario.key])
        return [record.seconds for record in mine if is_measured(record) and record.seconds is not None]

    def known(self, scenario: Scenario, target: float) -> bool:
        """Whether a scenario's median time is known within `target`, or it cannot be measured at all."""
        seconds = self.seconds(scenario)
        if not seconds:
            return bool(self._by_key[scenario.key])
        rule = MedianKnown(relative_half_width=target)  # anew, for a further attempt takes the place of an earlier one
        for value in seconds:
            rule.add(value)
        return rule.stop is not None

    def begun_after(self, number: int) -> bool:
        """Whether anything of a later round is on file, controls aside."""
        return any(record.round > number and not is_control(record) for record in self.all)

    def measured_again(self, number: int) -> int:
        """Return how many cases of a round were tried again after a first attempt that gave a time."""
        own = [record for record in self.all if record.round == number and not is_control(record)]
        timed = {record.key for record in own if record.attempt == 0 and is_measured(record)}
        return sum(record.attempt > 0 and record.key in timed for record in own)

    def flagged(self, number: int, most: int) -> Sequence[Flag]:
        """Return what to measure again of a round: the farthest off first, `most` at most, each once."""
        own = [flag for flag in flags(self.all) if flag.record.round == number and flag.record.attempt == 0]
        return sorted(own, key=lambda flag: -abs(flag.deviation))[:most]

    def out_of_memory_before(self, scenario: Scenario) -> Record | None:
        """Return the record of a smaller case of the same line that ran out of memory."""
        return next((record for record in self._out_of_memory if _is_larger(scenario, record.scenario)), None)


def _is_larger(scenario: Scenario, other: Scenario) -> bool:
    """Whether a scenario is the same as another but for its sizes, none of which is smaller and one larger."""
    pairs = [(getattr(scenario, name), getattr(other, name)) for name in SIZES]
    grown = any(own > its for own, its in pairs) and all(own >= its for own, its in pairs)
    return grown and _line(scenario) == _line(other)


def _line(scenario: Scenario) -> dict[str, Any]:
    """Return what all sizes of one line have in common; no scenario, for it may not be one at other sizes."""
    own = (*SIZES, "minibatches", "seed", "purpose")
    return {name: value for name, value in dataclasses.asdict(scenario).items() if name not in own}
