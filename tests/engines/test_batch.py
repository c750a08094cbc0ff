"""Mini-batches: what cannot be trained on is refused in one line that names it, and the run can go on."""

import pytest
import torch

from albench.engines import make_engine
from albench.engines.batch import ALIGNMENT_BYTES, as_allocated, check_batch
from albench.errors import UsageError
from tests.engines.made_up import CLASSES, FEATURES, assert_bitwise_equal, batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)

LABELS = torch.zeros(2, dtype=torch.int64)
X = torch.zeros(2, FEATURES)


BAD_BATCHES = {
    "label beyond the classes": (torch.zeros(2, FEATURES), torch.tensor([0, CLASSES]), f"label {CLASSES}"),
    "negative label": (torch.zeros(2, FEATURES), torch.tensor([-1, 0]), "label -1"),
    "NaN": (torch.full((2, FEATURES), float("nan")), torch.zeros(2, dtype=torch.int64), "nan"),
    "infinity": (torch.full((2, FEATURES), float("inf")), torch.zeros(2, dtype=torch.int64), "inf"),
    "other precision": (torch.zeros(2, FEATURES, dtype=torch.float64), torch.zeros(2, dtype=torch.int64), "float64"),
    "labels of another type": (torch.zeros(2, FEATURES), torch.zeros(2, dtype=torch.int32), "int32"),
    "one label missing": (torch.zeros(2, FEATURES), torch.zeros(1, dtype=torch.int64), r"\[1\]"),
    "no instance": (torch.zeros(0, FEATURES), torch.zeros(0, dtype=torch.int64), r"\[0, 12\]"),
    "boolean labels": (X, LABELS.bool(), "bool"),
    "one-hot integers": (X, torch.zeros(2, CLASSES, dtype=torch.int64), r"int64 \[2, 5\]"),
    "labels as floats": (X, LABELS.float(), r"float32 \[2\].*give int64"),
    "real-valued targets of another width": (X, torch.zeros(2, 3), r"\[2, 3\].*\[B, 5\]"),
    "real-valued targets of another precision": (X, torch.zeros(2, CLASSES, dtype=torch.float64), "float64"),
    "a target that is not finite": (X, torch.full((2, CLASSES), float("nan")), "not finite"),
    "a label that is no tensor's row": (X, torch.tensor(1), r"y \[\]"),
    "features without instances": (torch.zeros(2), LABELS, r"x \[2\]"),
    "integer input": (X.long(), LABELS, "int64"),
    "NumPy": (X.numpy(), LABELS.numpy(), "ndarray.*as_tensor"),
    "a list of labels": (X, [0, 1], "list.*as_tensor"),
    "strings": ("x", "y", "str"),
    "another device": (X, LABELS.to("meta"), "y on meta"),
}


@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
@pytest.mark.parametrize("case", BAD_BATCHES)
def test_bad_mini_batches_are_refused_in_one_line(name, case):
    x, y, words = BAD_BATCHES[case]
    with make_engine(name, network(4)) as engine:
        with pytest.raises(UsageError, match=words) as caught:
            engine.fit([*batches(2), (x, y)])
        assert "mini-batch 2" in str(caught.value)
        assert "\n" not in str(caught.value)
        engine.fit(batches(1))  # the good ones before were trained on, and it can go on
        assert engine.minibatches_seen == 3


@pytest.mark.parametrize("given", [None, 3, (X,), (X, LABELS, LABELS), [], torch.zeros(5, 4)], ids=type)
def test_what_is_no_pair_is_refused(given):
    with make_engine("serial", network(4)) as engine, pytest.raises(UsageError, match="mini-batch 0 is not a pair"):
        engine.fit([given])


def test_the_first_bad_value_is_named():
    x = torch.zeros(4, FEATURES)
    x[2, 3] = float("-inf")
    with pytest.raises(UsageError, match="holds -inf"):
        check_batch((x, torch.zeros(4, dtype=torch.int64)), minibatch=0, classes=CLASSES, like=x.new_zeros(1))


def test_infinities_that_cancel_are_seen():
    """Their sum is NaN, not an infinity."""
    x = torch.zeros(2, FEATURES)
    x[0, 0], x[1, 1] = float("inf"), float("-inf")
    with pytest.raises(UsageError, match="holds inf"):
        check_batch((x, LABELS), minibatch=0, classes=CLASSES, like=x.new_zeros(1))


def test_large_finite_numbers_are_not_taken_for_infinity():
    with make_engine("serial", network(4)) as engine:
        engine.fit([(torch.full((8, FEATURES), 3e38), torch.zeros(8, dtype=torch.int64))])


def test_a_network_that_names_no_classes_takes_any_label_and_width():
    like = torch.zeros(1)
    check_batch((X, torch.tensor([0, 10**6])), minibatch=0, classes=None, like=like)
    check_batch((X, torch.zeros(2, 77)), minibatch=0, classes=None, like=like)


@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
def test_no_gradient_flows_back_into_the_input(name):
    """An encoder before the network is not trained by it: s_0 is detached like every other s."""
    encoder = torch.nn.Linear(FEATURES, FEATURES)
    x, y = batches(1)[0]
    with make_engine(name, network(4)) as engine:
        engine.fit([(encoder(x), y)])
    assert encoder.weight.grad is None


@pytest.mark.parametrize("name", ["threads", "fused"])
def test_real_valued_targets_train(name):
    data = [
        (x, torch.rand(len(y), CLASSES, dtype=torch.float64)) for x, y in batches(12, ragged=3, dtype=torch.float64)
    ]
    serial, _ = trained("serial", data, net=network(8, dtype=torch.float64))
    other, _ = trained(name, data, net=network(8, dtype=torch.float64))
    assert largest_difference(serial, other) <= (1e-10 if name == "fused" else 0.0)


def test_what_lies_as_the_allocator_lays_it_is_taken_as_it_is():
    numbers = torch.arange(1000.0)
    start = -numbers.data_ptr() % ALIGNMENT_BYTES // 4
    aligned = numbers[start : start + 240].view(20, 12)
    assert as_allocated(aligned) is aligned
    for other in (numbers[start + 1 : start + 241].view(20, 12), aligned[:, :5], aligned.t()):
        found = as_allocated(other)
        assert torch.equal(found, other)
        assert found.untyped_storage().data_ptr() != numbers.untyped_storage().data_ptr()


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["streams", "graph"])
def test_where_a_mini_batch_begins_does_not_matter_on_a_device(name):
    """Rows of a resident data set begin anywhere; a recording has them copied to one place."""
    x, y = (torch.cat(parts).cuda() for parts in zip(*batches(31), strict=True))
    data = [(x[k * 7 + 1 : k * 7 + 8], y[k * 7 + 1 : k * 7 + 8]) for k in range(35)]
    serial, _ = trained("serial", data, net=network(8).cuda())
    assert_bitwise_equal(serial, trained(name, data, net=network(8).cuda())[0])
