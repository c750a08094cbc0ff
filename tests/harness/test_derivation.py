"""What follows from a record is worked out from its own numbers, and from the devices that the case used."""

import msgspec

from albench.harness.derivation import derived_from
from albench.harness.telemetry import GpuTelemetry, Telemetry
from tests.harness.test_records import record


def test_from_a_record():
    telemetry = Telemetry(
        window_seconds=2.0,
        samples=20,
        interval_seconds=0.1,
        gpus=[
            GpuTelemetry(index=0, name="", uuid="", used=True, energy_joules=24.0),
            GpuTelemetry(index=1, name="", uuid="", used=False, energy_joules=1e6),
        ],
    )
    one = msgspec.structs.replace(record(), seconds=2.0, telemetry=telemetry, flops_per_minibatch=100)
    found = derived_from(one)
    assert found is not None
    assert found.samples_per_second == one.instances / 2.0
    assert found.joules_per_sample == 24.0 / one.instances, "a card that idles beside the case's is not the case's"
    assert found.flops_per_second == 100 * one.scenario.minibatches / 2.0
    assert found.share_of_peak is None
    assert derived_from(msgspec.structs.replace(record(), status="failed", seconds=None)) is None
