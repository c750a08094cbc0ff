"""Outcomes: what a case sends through a pipe arrives as it was, whatever came of its training."""

import math

import msgspec

from albench.harness.isolation import _answer
from tests.harness.test_runner import outcome


def test_a_training_that_diverged_has_an_outcome():
    """JSON has no number for a loss that is not finite; the time was measured all the same."""
    sent = msgspec.structs.replace(outcome(1.5), losses=[{"associated": math.nan, "autoencoder": math.inf}])
    arrived = _answer(msgspec.json.encode(sent))
    assert arrived == msgspec.structs.replace(sent, losses=[{"associated": None, "autoencoder": None}])
