"""Options: what makes no sense is refused in one line where the engine is made."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from albench.engines import EngineOptions, make_engine
from albench.errors import UsageError
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": lambda _: -1.0}, "learning_rate is -1.0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"learning_rate": None}, "learning_rate is None"),
        ({"learning_rate": lambda k: 0.0}, "learning_rate is 0.0"),
        ({"weight_decay": math.nan}, "weight_decay is nan"),
        ({"weight_decay": math.inf}, "weight_decay is inf"),
        ({"weight_decay": None}, "weight_decay is None"),
        ({"lanes": 0}, "lanes is 0"),
        ({"lanes": -2}, "lanes is -2"),
        ({"lanes": 2.5}, "lanes is 2.5"),
        ({"lanes": "2"}, "lanes is '2'"),
        ({"distinct_targets": None}, "distinct_targets is None"),
        ({"distinct_targets": "yes"}, "distinct_targets is 'yes'"),
        ({"compile": None}, "compile is None"),
        ({"compile": "always"}, "compile is 'always'"),
        ({"trace": "no"}, "trace is 'no'"),
        ({"learning_rate": lambda k: None}, "learning_rate of mini-batch 0 is None"),
        ({"learning_rate": lambda k: "fast"}, "learning_rate of mini-batch 0 is 'fast'"),
        ({"learning_rate": "1e-3"}, "learning_rate is '1e-3'"),
        ({"weight_decay": "0"}, "weight_decay is '0'"),
        ({"rank_timeout_seconds": "30"}, "rank_timeout_seconds is '30'"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, words):
    with pytest.raises(UsageError, match=words) as caught:
        make_engine("threads", network(4), **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_engine_is_refused_with_the_nearest_names():
    with pytest.raises(UsageError, match="did you mean 'threads'"):
        make_engine("thread", network(4))


def test_a_tensor_is_no_rate():
    """Adam would compute with it in another precision than with a float, and engines would part in the last bit."""
    with pytest.raises(UsageError, match="learning_rate is tensor"):
        EngineOptions(learning_rate=torch.tensor(1e-3))


def test_the_rate_is_a_function_of_the_mini_batch_or_a_number():
    assert EngineOptions(learning_rate=lambda k: 1 / (1 + k)).rate_at(3) == 0.25
    assert EngineOptions(learning_rate=lambda k: np.float32(0.5)).rate_at(0) == 0.5
    assert EngineOptions(learning_rate=2e-3).rate_at(9) == 2e-3


@pytest.mark.parametrize("options", [{}, {"lanes": np.int64(2)}, {"weight_decay": 0}, {"learning_rate": np.float64(1)}])
def test_what_makes_sense_is_taken(options):
    make_engine("threads", network(4), **options)


@pytest.mark.parametrize("number", [np.float32(1e-3), Fraction(1, 1024), np.float64(1e-3), 1], ids=repr)
def test_numbers_of_any_kind_are_plain_floats(number):
    """JSON has no float32 and Adam no fraction, and in float32 a rate times its factor is another number."""
    options = EngineOptions(learning_rate=number, weight_decay=number, rank_timeout_seconds=number + 1)
    assert options.learning_rate == options.weight_decay == float(number)
    assert options.rate_at(3) == float(number)
    for value in (options.learning_rate, options.weight_decay, options.rank_timeout_seconds):
        assert type(value) is float
    assert type(EngineOptions(lanes=np.int64(2)).lanes) is int


@pytest.mark.parametrize("name", ["threads", "ranks"])
@pytest.mark.parametrize("number", [np.float32(1e-3), Fraction(1, 1024)], ids=repr)
def test_every_engine_trains_with_numbers_of_any_kind(name, number):
    data = batches(4)
    plain, _ = trained("serial", data, learning_rate=float(number), weight_decay=float(number))
    other, _ = trained(name, data, learning_rate=number, weight_decay=number, lanes=np.int64(2))
    assert_bitwise_equal(plain, other)
