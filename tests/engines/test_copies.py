"""Copies of a network: what a user changes in one of them between runs reaches the others, or is refused in time."""

import pytest
import torch
from torch import nn

from albench.engines import make_engine
from albench.engines.copies import Unchanged, modes_of, set_modes
from albench.errors import UsageError
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained
from tests.engines.test_ranks_launched import free_port
from tests.forked_script import ForkedScript

pytestmark = pytest.mark.timeout(120)


class Normalised(LocallySupervised):
    def __init__(self, features, width, seed):
        super().__init__(features, width, seed)
        self.body.insert(1, nn.BatchNorm1d(width))


def test_modes_go_from_one_copy_to_the_other():
    one, other = LocalNetwork(Normalised), LocalNetwork(Normalised)
    one.components[1].eval()
    one.components[2].body[1].eval()
    one.components[3].head.requires_grad_(False)
    set_modes(other.components, modes_of(one.components))
    assert [m.training for m in one.components.modules()] == [m.training for m in other.components.modules()]
    assert [p.requires_grad for p in one.parameters()] == [p.requires_grad for p in other.parameters()]


def train_with_changes(name, change):
    """Train, change the network, train on; the engine of the last part is made before the change."""
    net, data = LocalNetwork(Normalised), batches(20)
    net.components[3].eval()
    with make_engine(name, net, learning_rate=1e-2, lanes=2) as engine:
        engine.fit(data[:8])
        change(net)
        engine.fit(data[8:])
        return engine.state_dict()


CHANGES = {
    "train": lambda net: net.train(),
    "eval": lambda net: net.eval(),
    "frozen weights": lambda net: [c.head.requires_grad_(False) for c in net.components],
    "frozen layers": lambda net: [c.body[1].eval() for c in net.components],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_between_runs_reaches_every_process(change):
    """The last component is on the other rank, which trained its BatchNorm in another mode and its frozen weights."""
    assert_bitwise_equal(train_with_changes("serial", CHANGES[change]), train_with_changes("ranks", CHANGES[change]))


def resized(net):
    net.components[3].b[0], net.components[3].g[0], net.components[3].h[0] = (
        nn.Linear(9, 20),
        nn.Linear(9, 20),
        nn.Linear(20, 9),
    )


def without_generator(net):
    del net.components[3].generator


def turned(net):
    weight = net.components[3].f[0].weight
    weight.data = weight.data.T.contiguous().T  # as net.to(memory_format=torch.channels_last) does to convolutions


REPLACED = {
    "double": lambda net: net.double(),
    "resized": resized,
    "another layer": lambda net: net.components[2].f.append(nn.Identity()),
    "other strides": turned,
    "no generator": without_generator,
}


@pytest.mark.parametrize("change", REPLACED)
def test_a_network_that_the_other_processes_would_not_know_is_refused(change):
    """Not within gloo, which ends the whole process."""
    net = network(8)
    with make_engine("ranks", net, lanes=2) as engine:
        engine.fit(batches(2))
        state = engine.state_dict()
        REPLACED[change](net)
        data = [(x.to(next(net.parameters()).dtype), y) for x, y in batches(2)]
        words = "before its engine is made|of component 3 does not fit|other parameters or shapes"
        for call in (lambda: engine.fit(data), lambda: engine.load_state_dict(state)):
            with pytest.raises(UsageError, match=words) as caught:
                call()
            assert "\n" not in str(caught.value)


def test_a_network_that_came_back_goes_on():
    net = network(8)
    with make_engine("ranks", net, learning_rate=1e-2, lanes=2) as engine:
        engine.fit(batches(5))
        net.double()
        with pytest.raises(UsageError, match="component 0 has other shapes, strides, types or modules"):
            engine.fit(batches(5))
        net.float()
        engine.fit(batches(5))
        assert engine.minibatches_seen == 10
        assert_bitwise_equal(trained("serial", batches(5) * 2)[0], engine.state_dict())


def test_a_network_that_moved_is_refused():
    net = network(4)
    watch = Unchanged(list(net.components))
    watch.check()
    net.to("meta")
    with pytest.raises(UsageError, match="was on cpu when its engine was made"):
        watch.check()


class Growing(LocallySupervised):
    """Has a buffer that grows where it trains, and nowhere else."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register_buffer("means", torch.zeros(0))

    def forward(self, features, target):
        self.means = torch.cat([self.means, features.detach().mean().reshape(1)])
        return super().forward(features, target)


def test_a_buffer_of_another_size_on_another_rank_is_refused():
    with make_engine("ranks", LocalNetwork(Growing), lanes=2) as engine:
        with pytest.raises(UsageError, match=r"the components have tensors of \d+ bytes on rank . and of \d+ on rank"):
            engine.fit(batches(2))
        with pytest.raises(UsageError, match="earlier fit broke off"):
            engine.fit(batches(2))


PROGRAM = """
import os, sys
from albench.engines import make_engine
from tests.engines.made_up import batches, network
when, who = sys.argv[1], int(sys.argv[2])
rank = int(os.environ["RANK"])
net = network(8)
try:
    if rank == who and when == "before":
        net.double()
    with make_engine("ranks", net, learning_rate=1e-2, rank_timeout_seconds=5) as engine:
        engine.fit(batches(3))
        if rank == who:
            net.double()
        engine.fit([(x.to(next(net.parameters()).dtype), y) for x, y in batches(3)])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("when", ["before", "after"])
def test_launched_ranks_of_different_types_are_all_told(tmp_path, when, who):
    script, port = tmp_path / "train.py", str(free_port())
    script.write_text(PROGRAM)
    job = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [ForkedScript(script, when, who, RANK=str(rank), **job) for rank in range(2)]
    try:
        said = [rank.communicate(timeout=90) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    words = "the network of rank 1 is not that of rank 0" if when == "before" else "before its engine is made"
    for rank, (out, errors) in enumerate(said):
        assert ranks[rank].returncode == 0, errors
        assert out.startswith("UsageError ")
        assert words in out
        assert out.count("\n") == 1
