"""The method that does nothing does nothing, and goes through everything that a case goes through."""

import torch

from albench.harness.isolation import run_isolated
from albench.harness.outcome import Outcome
from albench.harness.suites import suite_scenarios
from albench.methods import make_trainer
from albench.methods.trainer import TrainerOptions


def test_it_reads_every_mini_batch_and_predicts_the_first_class():
    options = TrainerOptions(engine="eager", in_features=4, classes=3, width=2, hidden_layers=2)
    trainer = make_trainer("idle", options)
    read = iter([(torch.ones(2, 4), torch.zeros(2, dtype=torch.int64))] * 3)
    trainer.train(read)
    assert next(read, None) is None
    assert trainer.predict(torch.ones(5, 4)).shape == (5, 3)
    assert trainer.losses == []


def test_the_suite_of_the_harness_is_two_hundred_cases_of_it():
    scenarios = suite_scenarios("harness")
    assert len({scenario.key for scenario in scenarios}) == 200
    assert {scenario.method for scenario in scenarios} == {"idle"}
    answer = run_isolated(scenarios[0], data_dir=None, limit_seconds=60.0)
    assert isinstance(answer, Outcome)
    assert answer.seconds > 0
