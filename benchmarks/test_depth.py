"""Time against depth ℓ.

Claim: where launches rule (width 32, batch 16, up to ℓ = 64) an extra layer costs stacked AL a fraction of what it
costs BP. Where arithmetic rules (width 512, batch 128, up to ℓ = 16) only lanes can hide it.
"""

from albench.harness.suites import suite_scenarios

SCENARIOS = suite_scenarios("depth")


def test_depth(measure, scenario):
    measure(scenario)
