"""Instruments: what is measured beside the time, for every case of a sweep.

One sampler reads the machine while cases run (`albench.harness.sampler`), and the matrix-product peak is measured
before the first case (`albench.harness.peak`). A sweep that has nothing to run starts neither. Nothing here may cost a
measurement: what is missing has its reason in the record.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from albench.harness.isolation import PRELOAD
from albench.harness.outcome import Outcome
from albench.harness.peak import Place, matmul_peaks, place_of
from albench.harness.sampler import GpuSource, Sampler
from albench.harness.scenario import Scenario

NOT_WANTED = "the sweep was run without telemetry"


class Instruments:
    """The instruments of one sweep. Use as a context manager."""

    def __init__(
        self, scenarios: Iterable[Scenario], *, wanted: bool = True, gpu_source: GpuSource | None = None
    ) -> None:
        """Start nothing yet. `wanted`: False for a sweep that shall be disturbed by nothing."""
        self._scenarios = list(scenarios)
        self._sampler = Sampler(preload=PRELOAD, gpu_source=gpu_source) if wanted else None
        self._peaks: dict[Place, float] | None = None
        self._peak_reason = ""

    def begin(self, scenario: Scenario) -> None:
        """A case starts."""
        if self._sampler is None:
            return
        if self._peaks is None:
            places = [place for one in self._scenarios if (place := place_of(one)) is not None]
            self._peaks, self._peak_reason = matmul_peaks(places, preload=PRELOAD)
        self._sampler.begin(gpus=scenario.device == "cuda")

    def fields(self, scenario: Scenario, outcome: Outcome) -> dict[str, Any]:
        """Return the fields of the case's record that tell what the instruments saw."""
        if self._sampler is None:
            return {"telemetry_reason": NOT_WANTED, "matmul_peak_reason": NOT_WANTED}
        if outcome.window_end_seconds > outcome.window_start_seconds:
            telemetry, reason = self._sampler.window(
                outcome.window_start_seconds, outcome.window_end_seconds, used_gpus=outcome.gpu_uuids
            )
        else:
            telemetry, reason = None, "the case did not say when its window was"
        place = place_of(scenario)
        peak = (self._peaks or {}).get(place) if place is not None else None
        no_peak = self._peak_reason if place is not None else "not known for several devices together"
        return {
            "telemetry": telemetry,
            "telemetry_reason": reason,
            "matmul_peak_flops_per_second": peak,
            "matmul_peak_reason": "" if peak is not None else no_peak or "not measured for so many threads",
        }

    def close(self) -> None:
        """End the sampler."""
        if self._sampler is not None:
            self._sampler.close()

    def __enter__(self) -> Instruments:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
