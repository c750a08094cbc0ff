"""Time against depth ℓ: does an extra layer cost AL what it costs BP, where launches and where arithmetic rule?"""

from albench.harness.suites import suite_scenarios

SCENARIOS = suite_scenarios("depth")


def test_depth(train_and_record, scenario):
    record = train_and_record(scenario)
    assert record.accuracy is None or 0 <= record.accuracy <= 1
    assert record.instances == scenario.batch_size * scenario.minibatches
