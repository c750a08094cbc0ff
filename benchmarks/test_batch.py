"""Throughput against batch size, from 8 to 512.

Claim: AL's lead over BP is largest at small batches, where launches rule, and shrinks as arithmetic takes over.
"""

from albench.harness.suites import suite_scenarios

SCENARIOS = suite_scenarios("batch")


def test_batch(measure, scenario):
    measure(scenario)
