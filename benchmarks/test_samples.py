"""Time against n, the training instances.

Claim: time is a straight line in n for AL as for BP. Where the line meets n = 0 is the price of filling and draining
the pipeline, which grows with ℓ for AL only; its slope is the steady pace, which grows with ℓ much less than BP's.
"""

from albench.harness.suites import suite_scenarios

SCENARIOS = suite_scenarios("samples")


def test_samples(measure, scenario):
    measure(scenario)
