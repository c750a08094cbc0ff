"""Time against n, the training instances: fill and start-up against the steady pace."""

from albench.harness.suites import suite_scenarios

SCENARIOS = suite_scenarios("samples")


def test_samples(train_and_record, scenario):
    record = train_and_record(scenario)
    assert record.accuracy is None or 0 <= record.accuracy <= 1
    assert record.instances == scenario.batch_size * scenario.minibatches
