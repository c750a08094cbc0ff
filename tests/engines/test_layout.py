"""The layout of what is handed on: the same strides on every engine, so the same kernels and the same bits."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from albench.component import ParameterGroup, Update
from albench.engines import make_engine
from albench.engines.layout import as_dense, hand_on_densely, in_storage_order, is_dense
from albench.engines.message import Message, parts, read
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import CLASSES, assert_bitwise_equal, batches, trained

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_cpu_twins")]
ROWS = torch.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("tensor", "dense"),
    [
        (ROWS, True),
        (ROWS.permute(2, 0, 1), True),
        (torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last), True),
        (ROWS[1:], True),
        (ROWS[:, :1].permute(2, 1, 0), False),
        (ROWS[:, 1], False),
        (ROWS[..., ::2], False),
        (ROWS[:1].expand(5, 3, 4), False),
        (torch.zeros(()), True),
        (torch.zeros(0, 3).t(), True),
        (ROWS.to_sparse(), True),
    ],
)
def test_what_is_dense(tensor, dense):
    """A permutation of the dimensions is; a slice of the inner ones and an expanded row are not."""
    assert is_dense(tensor) is dense
    assert is_dense(as_dense(tensor))
    if dense:
        assert as_dense(tensor) is tensor


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=4), st.data())
def test_any_permutation_keeps_its_strides_on_the_way(shape, data):
    order = data.draw(st.permutations(range(len(shape))))
    tensor = torch.rand(shape, generator=torch.Generator().manual_seed(0)).permute(order)
    assert is_dense(tensor)
    assert in_storage_order(tensor).data_ptr() == tensor.data_ptr()
    stream = torch.cat(parts(Message(0, 1.0, tensor, (tensor, None))))
    position = 0

    def fill(part):
        nonlocal position
        part.copy_(stream[position : position + len(part)])
        position += len(part)

    received = read(fill, torch.device("cpu"))
    for other in (received.features, received.target[0]):
        assert other.stride() == tensor.stride()
        assert torch.equal(other, tensor)


def test_what_is_not_dense_is_made_so_and_the_rest_is_left_alone():
    dense = Update(ROWS, (ROWS.permute(2, 0, 1), None), {})
    assert hand_on_densely(dense) is dense
    update = hand_on_densely(Update(ROWS, (ROWS[:, 1], ROWS, None), {}))
    assert update.features is ROWS
    assert update.target[0].is_contiguous()
    assert torch.equal(update.target[0], ROWS[:, 1])
    assert update.target[1] is ROWS
    assert update.target[2] is None


class Convolution(nn.Module):
    """Hands on features in channels-last order where its input is."""

    def __init__(self, channels, width, seed):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
            self.head = nn.Linear(width, CLASSES)

    def forward(self, features, target):
        out = self.body(features)
        return Update(out.detach(), target, {"local": F.cross_entropy(self.head(out.mean((2, 3))), target)})

    def parameter_groups(self):
        return [ParameterGroup(parameters=list(self.parameters()))]


def convolutions():
    net = LocalNetwork(Convolution, 0)
    net.components = nn.ModuleList(Convolution(3 if i == 0 else 16, 16, i) for i in range(4))
    return net


def images(count):
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(8, 3, 16, 16, generator=generator).to(memory_format=torch.channels_last),
            torch.randint(CLASSES, (8,), generator=generator),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("link", ["ring", "gloo"])
def test_channels_last_convolutions_are_bitwise_equal_between_processes(link):
    """Where the other process gets rows instead, other kernels run and the weights part in the last bits."""
    data = images(6)
    serial, losses = trained("serial", data, net=convolutions())
    ranks, ranks_losses = trained("ranks", data, net=convolutions(), lanes=2, link=link)
    assert_bitwise_equal(serial, ranks)
    assert losses == ranks_losses


class Slicing(LocallySupervised):
    """Hands on every other column of what it has, which leaves holes in its memory."""

    def __init__(self, features, width, seed):
        super().__init__(features, 2 * width, seed)

    def forward(self, features, target):
        assert is_dense(features)
        update = super().forward(features, target)
        return update._replace(features=update.features[:, ::2])


class Turning(LocallySupervised):
    """Hands on its features column by column."""

    def forward(self, features, target):
        update = super().forward(features, target)
        return update._replace(features=update.features.t().contiguous().t())


@pytest.mark.parametrize("name", ["threads", "ranks", "streams", "graph"])
@pytest.mark.parametrize("kind", [Slicing, Turning])
def test_other_strides_are_bitwise_equal_on_every_engine(kind, name):
    data = batches(12, batch_size=3)
    serial, losses = trained("serial", data, net=LocalNetwork(kind, width=64))
    other, other_losses = trained(name, data, net=LocalNetwork(kind, width=64), lanes=2)
    assert_bitwise_equal(serial, other)
    assert losses == other_losses


@pytest.mark.parametrize("name", ["serial", "threads"])
def test_an_engine_can_be_copied_after_a_run(name):
    """The last losses have no graph, which could not be copied and would keep the last mini-batch in memory."""
    data = batches(10)
    with make_engine(name, LocalNetwork(LocallySupervised), learning_rate=1e-2, lanes=2) as engine:
        engine.fit(data[:5])
        other = copy.deepcopy(engine)
        engine.fit(data[5:])
        with other:
            other.fit(data[5:])
            assert_bitwise_equal(engine.state_dict(), other.state_dict())
