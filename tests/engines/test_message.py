"""Messages: what a lane hands on comes out of the bytes as it went in, to the bit, and nothing else comes out."""

import enum
import gc
import subprocess
import weakref
from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from albench.component import map_target
from albench.engines.layout import is_dense
from albench.engines.message import (
    Message,
    as_bytes,
    decode_layout,
    describe,
    encode_layout,
    end_parts,
    parts,
    read,
)

CPU = torch.device("cpu")
DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
]


class Rows(NamedTuple):
    rows: object
    counts: object


class Outer:
    class Inner(NamedTuple):
        only: object


class PlainTuple(tuple):
    __slots__ = ()


class Source:
    """Bytes of messages, to be taken one after the other."""

    def __init__(self, *messages):
        self.data = torch.cat([part for message in messages for part in message])
        self.position = 0

    def __call__(self, part):
        part.copy_(self.data[self.position : self.position + len(part)])
        self.position += len(part)


def there_and_back(message):
    source = Source(parts(message))
    received = read(source, CPU)
    assert source.position == len(source.data)
    return received


def assert_same(one, other):
    """Same forms, types, shapes and bits; a NaN is the same NaN."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        if is_dense(one) and is_dense(other):
            assert one.stride() == other.stride()
        assert torch.equal(as_bytes(one), as_bytes(other))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


@st.composite
def made_tensors(draw):
    """Tensors of any type, zero-size and 0-dim ones too, some of them views with strides of their own."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    wide = torch.randint(0, 256, [*shape, 2], generator=generator)
    tensor = (wide.to(torch.float64) * 0.37 - 20).to(dtype)[..., draw(st.integers(0, 1))]
    if draw(st.booleans()) and tensor.dim() > 1:
        tensor = tensor.transpose(0, -1)
    return tensor if draw(st.booleans()) else tensor.contiguous()


made_targets = st.recursive(
    st.none() | made_tensors(),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.builds(Rows, inner, inner) | st.builds(Outer.Inner, inner)
    ),
    max_leaves=6,
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.integers(0, 2**62), st.floats(1e-300, 1e300), made_tensors(), made_targets)
def test_what_goes_in_comes_out(minibatch, rate, features, target):
    """Any nesting of tuples, named tuples and None, any type and shape, any strides."""
    assert_same(there_and_back(Message(minibatch, rate, features, target)), Message(minibatch, rate, features, target))


@settings(derandomize=True, max_examples=30, deadline=None)
@given(made_tensors(), made_targets)
def test_a_layout_survives_its_encoding(features, target):
    layout, tensors = describe(Message(0, 1.0, features, target))
    assert decode_layout(encode_layout(layout)) == layout
    assert len(tensors) == len(layout.shapes) == len(layout.dtypes)


def test_values_that_compare_unlike_their_bits_survive():
    features = torch.tensor([float("nan"), -0.0, 0.0, float("inf"), 5e-324], dtype=torch.float64)
    assert_same(there_and_back(Message(3, 0.1, features, None)), Message(3, 0.1, features, None))


def test_what_comes_out_has_memory_of_its_own_and_no_graph():
    """A link's slot is filled anew while the task still works on what came out of it."""
    features = torch.ones(4, requires_grad=True)
    message = parts(Message(0, 1.0, features, features.detach()))
    source = Source(message)
    received = read(source, CPU)
    source.data.zero_()
    assert torch.equal(received.features, torch.ones(4))
    assert not received.features.requires_grad
    assert not received.target.requires_grad


def test_what_was_read_goes_with_its_last_user():
    """Not only when Python comes to collect cycles: a run would hold dozens of mini-batches in its memory."""
    message = Message(0, 1.0, torch.ones(4), (Rows(torch.ones(2), None), torch.ones(3)))
    gc.disable()
    try:
        received = there_and_back(message)
        alive = [weakref.ref(received.features), weakref.ref(received.target[0].rows)]
        del received
        assert [reference() for reference in alive] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("seen", [0, 1, 2**40])
def test_the_end_tells_the_minibatches_seen(seen):
    assert read(Source(end_parts(seen)), CPU) == seen


def test_messages_follow_one_another_and_their_layout_may_change():
    """Three different layouts, then the end, from one stream."""
    messages = [
        Message(0, 0.5, torch.ones(3, 2), Rows(torch.arange(3), None)),
        Message(1, 0.25, torch.ones(1, 2), Rows(torch.arange(1), None)),
        Message(2, 0.125, torch.ones(1, 2), torch.arange(1)),
    ]
    source = Source(*map(parts, messages), end_parts(3))
    for message in messages:
        assert_same(read(source, CPU), message)
    assert read(source, CPU) == 3


def test_a_tuple_type_of_another_kind_comes_out_as_a_tuple():
    """As `map_target` has it: only a named tuple can be made from its entries one by one."""
    target = PlainTuple((torch.ones(1), None))
    received = there_and_back(Message(0, 1.0, torch.ones(1), target))
    assert_same(received.target, map_target(lambda t: t, target))


def with_form(form):
    layout, tensors = describe(Message(0, 1.0, torch.ones(1), (torch.ones(1),)))
    encoded = encode_layout(layout._replace(form=form))
    message = parts(Message(0, 1.0, torch.ones(1), (torch.ones(1),)))
    message[0][16:24] = torch.tensor([len(encoded)]).view(torch.uint8)
    return [message[0][:24], torch.frombuffer(bytearray(encoded), dtype=torch.uint8), *map(as_bytes, tensors)]


@pytest.mark.parametrize(
    "kind", [subprocess.Popen, OrderedDict, enum.Enum, subprocess.run, pytest.raises], ids=lambda kind: kind.__name__
)
def test_nothing_but_a_tuple_type_is_made(kind, monkeypatch):
    """Whatever a message names, nothing that it names is called."""
    called = []
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *_, **__: called.append(1))
    with pytest.raises(TypeError, match="is not a tuple type"):
        read(Source(with_form((kind.__module__, kind.__qualname__, "tensor"))), CPU)
    assert not called


def test_a_form_made_by_hand_is_read_where_it_names_a_tuple():
    """The refusals above would be worth little if nothing that is made this way were accepted."""
    received = read(Source(with_form(("builtins", "tuple", "tensor"))), CPU)
    assert_same(received.target, (torch.ones(1),))


def test_a_target_that_is_no_tuple_is_refused():
    with pytest.raises(TypeError, match="a tensor or a tuple of tensors"):
        parts(Message(0, 1.0, torch.ones(1), [torch.ones(1)]))


def test_a_tensor_of_one_entry_may_have_any_stride():
    """What is left of a wide one, as with a last mini-batch of one instance."""
    one = torch.arange(6.0).reshape(3, 2)[1:2, 1]
    assert one.stride() == (2,)
    assert_same(there_and_back(Message(0, 1.0, one, one)), Message(0, 1.0, one, one))


def test_as_bytes_shares_memory_where_it_can():
    tensor = torch.zeros(2, 3)
    as_bytes(tensor).fill_(255)
    assert torch.isnan(tensor).all()
    turned = torch.zeros(2, 3).T
    as_bytes(turned).fill_(255)
    assert not turned.any()
