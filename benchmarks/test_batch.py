"""Time against batch size: where launches stop mattering."""

from albench.harness.suites import suite_scenarios

SCENARIOS = suite_scenarios("batch")


def test_batch(train_and_record, scenario):
    record = train_and_record(scenario)
    assert record.accuracy is None or 0 <= record.accuracy <= 1
    assert record.instances == scenario.batch_size * scenario.minibatches
