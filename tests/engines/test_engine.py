"""What all engines share: reading, draining, refusing to go on from a broken pipeline, leaving torch as it was."""

import itertools
import subprocess
import sys
import threading

import pytest
import torch

from albench.engines import ComponentError, make_engine
from albench.engines.engine import intra_op_threads
from albench.errors import UsageError
from tests.engines.locally_supervised import LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import assert_bitwise_equal, batches, largest_difference, network, trained

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_cpu_twins")]
ENGINES = ["serial", "threads", "fused", "streams", "graph"]


def lane_threads():
    return [t for t in threading.enumerate() if t.name.startswith("albench-lane")]


class FailsOnce(StackableLocallySupervised):
    """Raises `error` in its call number `at`, counted from 0; a stack is one call for all of its components."""

    calls = itertools.count()
    at = 3
    error: BaseException = ArithmeticError("made up")

    def forward(self, features, target):
        if next(self.calls) == self.at:
            raise self.error
        return super().forward(features, target)


def failing(error, at=3, count=3):
    kind = type("Failing", (FailsOnce,), {"calls": itertools.count(), "error": error, "at": at})
    return LocalNetwork(kind, count)


def read_until(data, error):
    yield from data
    raise error


@pytest.mark.parametrize(
    "error", [OSError("disk gone"), KeyboardInterrupt(), SystemExit(3)], ids=["error", "Ctrl-C", "exit"]
)
@pytest.mark.parametrize("name", ENGINES)
def test_an_error_while_reading_drains_and_leaves_a_state_to_go_on_from(name, error):
    """All components have seen the same mini-batches: those that a serial run would have seen, and it goes on."""
    data = batches(20, dtype=torch.float64)
    before = torch.get_num_threads()

    def same(state, mini_batches):
        expected, _ = trained("serial", mini_batches, net=network(8, dtype=torch.float64))
        if name == "fused":
            assert largest_difference(expected, state) <= 1e-10
            assert expected["minibatches"] == state["minibatches"]
        else:
            assert_bitwise_equal(expected, state)

    with make_engine(name, network(8, dtype=torch.float64), learning_rate=1e-2) as engine:
        with pytest.raises(type(error)) as caught:
            engine.fit(read_until(data[:7], error))
        assert caught.value is error
        assert not lane_threads()
        assert torch.get_num_threads() == before
        assert engine.minibatches_seen == 7
        same(engine.state_dict(), data[:7])
        engine.fit(data[7:])
        same(engine.state_dict(), data)


@pytest.mark.parametrize("name", ENGINES)
def test_a_rate_that_cannot_be_drains_too(name):
    """A schedule that reaches 0 at mini-batch 6 ends the run there, whole, not in the middle of the pipeline."""
    data = batches(10, dtype=torch.float64)
    with make_engine(name, network(8, dtype=torch.float64), learning_rate=lambda k: 1e-2 * (k < 6)) as engine:
        with pytest.raises(UsageError, match="learning_rate is 0"):
            engine.fit(data)
        assert engine.minibatches_seen == 6
        serial, _ = trained("serial", data[:6], net=network(8, dtype=torch.float64))
        assert largest_difference(serial, engine.state_dict()) <= 1e-10


@pytest.mark.parametrize("name", ENGINES)
def test_a_component_that_fails_breaks_the_run_and_says_so(name):
    """The cause is chained, threads are gone, torch is as it was, and neither fit nor a saved state goes on from it."""
    data = batches(20)
    net = failing(cause := ArithmeticError("made up"), at=8)
    before = torch.get_num_threads()
    engine = make_engine(name, net, learning_rate=1e-2, lanes=2)
    good = engine.state_dict()
    with pytest.raises(ComponentError, match="failed on mini-batch .*: ArithmeticError: made up") as caught:
        engine.fit(data)
    assert caught.value.__cause__ is cause
    assert caught.value.component in range(3)
    assert not lane_threads()
    assert torch.get_num_threads() == before
    with pytest.raises(UsageError, match="load_state_dict"):
        engine.fit(data)
    with pytest.raises(UsageError, match="no state to go on from"):
        engine.state_dict()
    engine.load_state_dict(good)
    engine.fit(data)
    serial, _ = trained("serial", data, net=LocalNetwork(StackableLocallySupervised, 3))
    assert largest_difference(serial, engine.state_dict()) <= 1e-5


@pytest.mark.parametrize("at", range(9))
def test_the_failing_component_and_mini_batch_are_the_right_ones(at):
    """In the serial order call number 3k + i is task (i, k)."""
    with (
        make_engine("serial", failing(ValueError("x"), at=at)) as engine,
        pytest.raises(ComponentError, match=f"component {at % 3} failed on mini-batch {at // 3}"),
    ):
        engine.fit(batches(4))


def test_fused_names_the_components_of_the_tick():
    """Components 1 and 2 are one stack: in its second tick it runs both, component 1 on mini-batch 1."""
    # Calls, tick by tick: 0, 0 | 1, 1, 0 | 1-2, 0 | … where a stack's first pass is compared with the component alone.
    net = failing(ValueError("x"), at=5)
    with make_engine("fused", net) as engine, pytest.raises(ComponentError) as caught:
        engine.fit(batches(4))
    assert caught.value.components == range(1, 3)
    assert caught.value.minibatch == 1


@pytest.mark.parametrize("name", ENGINES)
def test_ctrl_c_inside_a_task_is_ctrl_c_and_breaks_the_run(name):
    """Not a ComponentError; and as the pipeline stopped between two tasks, nothing goes on from there."""
    with make_engine(name, failing(KeyboardInterrupt(), at=4), lanes=2) as engine:
        with pytest.raises(KeyboardInterrupt):
            engine.fit(batches(6))
        assert not lane_threads()
        with pytest.raises(UsageError, match="load_state_dict"):
            engine.fit(batches(1))


@pytest.mark.parametrize("name", ENGINES)
def test_fit_reads_lazily(name):
    """Never more than a bounded number of mini-batches ahead of the last finished one, so memory is bounded."""
    ahead = []
    net = network(6)
    with make_engine(name, net, lanes=3, trace=True) as engine:

        def reader():
            for number, batch in enumerate(batches(80)):
                ahead.append(number - sum(span.component == 2 for span in engine.spans))
                yield batch

        engine.fit(reader())
    assert len(ahead) == 80
    # serial, streams: none; fused, graph: those in the pipeline; threads: those queued before each lane and in each.
    assert max(ahead) <= {"serial": 0, "streams": 0, "fused": 3, "graph": 3, "threads": 3 * (4 + 1) + 1}[name]


@pytest.mark.parametrize("name", ENGINES)
def test_an_empty_fit_changes_nothing(name):
    with make_engine(name, network(8)) as engine:
        before = engine.state_dict()
        engine.fit([])
        engine.fit(iter(()))
        assert_bitwise_equal(before, engine.state_dict())
        assert engine.minibatches_seen == 0
        assert engine.losses == [{}] * 4


@pytest.mark.parametrize("name", ENGINES)
def test_fit_inside_no_grad_trains_all_the_same(name):
    """Lanes are threads, which a no_grad() in the caller's thread does not reach: so it must not matter anywhere."""
    data = batches(5, dtype=torch.float64)
    serial, _ = trained("serial", data, net=network(8, dtype=torch.float64))
    with torch.no_grad():
        other, _ = trained(name, data, net=network(8, dtype=torch.float64))
        assert not torch.is_grad_enabled()
    assert largest_difference(serial, other) <= 1e-10


@pytest.mark.parametrize("name", ENGINES)
def test_torchs_random_state_is_neither_used_nor_moved(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, _ = trained(name, batches(4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    other, _ = trained(name, batches(4))
    assert_bitwise_equal(one, other)


@pytest.mark.parametrize("name", ENGINES)
def test_fit_within_fit_is_refused(name):
    with make_engine(name, network(4)) as engine:

        def reader():
            yield batches(1)[0]
            engine.fit(batches(1))

        with pytest.raises(UsageError, match=r"^fit\(\) while fit\(\) is running"):
            engine.fit(reader())
        engine.fit(batches(1))
        assert engine.minibatches_seen == 2


@pytest.mark.parametrize("name", ENGINES)
def test_rates_follow_the_mini_batch_across_fits(name):
    asked = set()

    def rate(k):
        asked.add(k)
        return 1e-2

    with make_engine(name, network(8), learning_rate=rate) as engine:
        engine.fit(batches(3))
        engine.fit(batches(2))
    assert asked == set(range(5))


def test_intra_op_threads_are_put_back_whatever_happens():
    before = torch.get_num_threads()
    with intra_op_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with pytest.raises(ZeroDivisionError), intra_op_threads(before + 1):
        1 / 0  # noqa: B018 - what goes wrong inside
    assert torch.get_num_threads() == before


def test_a_network_without_components_is_refused():
    with pytest.raises(UsageError, match="no components"):
        make_engine("serial", LocalNetwork(StackableLocallySupervised, 0))


def test_nothing_but_the_core_is_imported():
    """A training script must not pay for the harness, nor need it."""
    script = (
        "import sys\n"
        "from albench.engines import make_engine\n"
        "from tests.engines.made_up import batches, network\n"
        "make_engine('threads', network(4), lanes=2).fit(batches(3))\n"
        "rooms = ['harness', 'report', 'analysis', 'methods', 'cli']\n"
        "foreign = ['albench.' + room for room in rooms] + ['typer', 'rich', 'pandas', 'matplotlib', 'sklearn']\n"
        "print([m for m in foreign if m in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("name", ["threads", "ranks"])
def test_components_that_share_a_parameter_are_refused_on_several_lanes(name):
    """The update of one changes the task of the other: lanes would end elsewhere than the serial order, in silence."""
    net = network(6)
    net.components[2].f[0].weight = net.components[1].f[0].weight
    with pytest.raises(UsageError, match="components 1 and 2 share a parameter.*serial"):
        make_engine(name, net, lanes=2)
    with make_engine("serial", net) as engine:
        engine.fit(batches(2))
    with make_engine(name, net, lanes=1) as engine:
        engine.fit(batches(2))


@pytest.mark.parametrize("name", ["threads", "ranks"])
def test_components_that_share_a_buffer_are_refused_on_several_lanes(name):
    """As those that share a BatchNorm do, its weights apart: running statistics would depend on who runs first."""
    net = network(6)
    for component in net.components[1:]:
        component.f.append(torch.nn.BatchNorm1d(9, affine=False))
    net.components[2].f[-1] = net.components[1].f[-1]
    with pytest.raises(UsageError, match="components 1 and 2 share a buffer.*serial"):
        make_engine(name, net, lanes=2)
    with make_engine(name, net, lanes=1) as engine:
        engine.fit(batches(2))


@pytest.mark.parametrize("lanes", [None, 1, 2])
def test_components_that_share_a_parameter_are_refused_where_one_lane_is_out_of_order_too(lanes):
    """Stacked components run at once, and each would have a copy of its own."""
    net = network(8)
    net.components[2].h = net.components[1].h
    with pytest.raises(UsageError, match="components 1 and 2 share a parameter.*serial"):
        make_engine("fused", net, lanes=lanes)


class WithoutParameters(StackableLocallySupervised):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        del self.body, self.head

    def parameter_groups(self):
        return []


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("position", [0, 2])
def test_a_component_without_parameters_is_named(name, position):
    net = LocalNetwork(StackableLocallySupervised)
    net.components[position] = WithoutParameters(9, 9, 0)
    with pytest.raises(UsageError, match=f"component {position} has no parameters to train"):
        make_engine(name, net)


def test_a_serial_engine_says_that_it_has_one_lane():
    assert make_engine("serial", network(8), lanes=2).notes == ["2 lanes asked for, 1 used: serial runs on one lane"]
