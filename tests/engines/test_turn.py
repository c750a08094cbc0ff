"""One call at a time, and what the caller's own modes do to it: nothing, on any engine."""

import copy
import pickle
import threading

import pytest
import torch

from albench.engines import make_engine
from albench.engines.precision import usual_modes
from albench.engines.turn import Turn
from albench.errors import UsageError
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import assert_bitwise_equal, batches, largest_difference, network, trained

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_cpu_twins")]
ENGINES = ["serial", "threads", "ranks", "fused", "streams", "graph"]
CALLS = ["fit", "state_dict", "load_state_dict", "close"]


def refusals(engine, state):
    """Try every call and return what each is told."""
    told = []
    for call, arguments in zip(CALLS, [(batches(1),), (), (state,), ()], strict=True):
        with pytest.raises(UsageError) as caught:
            getattr(engine, call)(*arguments)
        told.append(str(caught.value))
    return told


EXPECTED = [f"{call}() while fit() is running: call it when that has returned" for call in CALLS]


@pytest.mark.parametrize("name", ENGINES)
def test_no_call_from_the_source_of_mini_batches(name):
    """Each is refused, and the run is not touched by it."""
    data = batches(10)
    whole, _ = trained("serial", data)
    with make_engine(name, network(8), learning_rate=1e-2, lanes=1 if name == "fused" else 2) as engine:
        state, told = engine.state_dict(), []

        def reader():
            yield from data[:5]
            told.extend(refusals(engine, state))
            yield from data[5:]

        engine.fit(reader())
        assert told == EXPECTED
        assert largest_difference(whole, engine.state_dict()) <= 1e-5


@pytest.mark.parametrize("name", ["serial", "threads", "ranks", "fused"])
def test_no_call_from_another_thread(name):
    data, reading, tried = batches(10), threading.Event(), threading.Event()

    def slow():
        yield from data[:5]
        reading.set()
        assert tried.wait(60)
        yield from data[5:]

    with make_engine(name, network(8), learning_rate=1e-2, lanes=1 if name == "fused" else 2) as engine:
        state = engine.state_dict()
        thread = threading.Thread(target=engine.fit, args=(slow(),))
        thread.start()
        try:
            assert reading.wait(60)
            told = refusals(engine, state)
        finally:
            tried.set()
            thread.join()
        assert told == EXPECTED
        assert engine.minibatches_seen == 10


def test_a_turn_is_given_back_whatever_happens_and_copies_begin_without():
    turn = Turn()
    with pytest.raises(ZeroDivisionError), turn.take("fit"):
        1 / 0  # noqa: B018 - what goes wrong inside
    with turn.take("fit"):
        with pytest.raises(UsageError, match=r"close\(\) while fit\(\) is running"), turn.take("close"):
            pass
        with pytest.raises(UsageError, match=r"fit\(\) while fit\(\) is running"), turn.take("fit"):
            pass
        for other in (copy.deepcopy(turn), pickle.loads(pickle.dumps(turn))):
            with other.take("fit"):
                pass


@pytest.mark.parametrize("name", ["serial", "threads", "ranks", "fused"])
def test_what_is_refused_before_it_trained_leaves_the_engine_whole(name):
    """As a network that moved and came back, or an option that cannot be: `fit` and `state_dict` go on."""
    net = network(8)
    with make_engine(name, net, learning_rate=1e-2, lanes=1 if name == "fused" else 2) as engine:
        run = engine._run
        engine._run = lambda inputs: exec("raise UsageError('not now')", {"UsageError": UsageError})
        with pytest.raises(UsageError, match="not now"):
            engine.fit(batches(2))
        engine._run = run
        engine.fit(batches(2))
        assert engine.state_dict()["minibatches"] == 2


def test_a_fused_network_that_moved_and_came_back():
    net = network(8)
    with make_engine("fused", net, lanes=1) as engine:
        net.double()
        with pytest.raises(UsageError, match="before its engine is made"):
            engine.fit(batches(1))
        net.float()
        engine.fit(batches(1))
        assert engine.state_dict()["minibatches"] == 1


MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ENGINES)
def test_the_callers_modes_do_not_reach_into_a_run(name, mode):
    """Lanes that are threads or processes would not see them; mini-batches that are made under them are taken."""
    data = batches(6)
    plain, losses = trained(name, data, net=network(8), lanes=1 if name == "fused" else 2)
    net = network(8)
    with MODES[mode]():
        made_inside = [(x.clone(), y.clone()) for x, y in data]
        state, losses_inside = trained(name, made_inside, net=net, lanes=1 if name == "fused" else 2)
        assert torch.is_inference_mode_enabled() == (mode == "inference_mode")
        assert torch.is_autocast_enabled("cpu") == (mode == "autocast")
    assert_bitwise_equal(plain, state)
    assert losses == losses_inside


def test_a_state_loaded_under_inference_mode_can_be_trained_on():
    whole, _ = trained("serial", batches(6))
    with make_engine("serial", network(8), learning_rate=1e-2) as engine:
        engine.fit(batches(6)[:3])
        with torch.inference_mode():
            state = engine.state_dict()
    with make_engine("serial", network(8, seed=3), learning_rate=1e-2) as engine:
        with torch.inference_mode():
            engine.load_state_dict(state)
        engine.fit(batches(6)[3:])
        assert_bitwise_equal(whole, engine.state_dict())


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ENGINES)
def test_a_source_that_yields_within_a_mode_is_refused(name, mode, around):
    """The mode would be on in the thread that reads: in every task of one engine, and in no task of another."""

    def leaking():
        with MODES[mode]():
            yield from batches(3)

    engine = make_engine(name, network(8), learning_rate=1e-2, lanes=1 if name == "fused" else 2)
    with engine, torch.autocast("cpu", enabled=around), torch.inference_mode(around):
        with pytest.raises(UsageError, match="source of mini-batches yields within"):
            engine.fit(leaking())
        assert torch.is_autocast_enabled("cpu") == torch.is_inference_mode_enabled() == around
        engine.fit(batches(2))
        assert engine.minibatches_seen == 2


class Autocasting(LocallySupervised):
    """Switches itself."""

    def forward(self, features, target):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            update = super().forward(features, target)
        assert update.features.dtype == torch.bfloat16
        return update._replace(features=update.features.float())


def test_what_a_component_switches_holds():
    data = batches(6)
    states = [trained(name, data, net=LocalNetwork(Autocasting), lanes=2)[0] for name in ("serial", "threads", "ranks")]
    assert_bitwise_equal(states[0], states[1])
    assert_bitwise_equal(states[0], states[2])


def test_a_network_made_under_inference_mode_is_refused():
    with torch.inference_mode():
        net = LocalNetwork(LocallySupervised)
    with pytest.raises(UsageError, match=r"component 0 was made under torch.inference_mode\(\)"):
        make_engine("serial", net)


def test_the_usual_modes_are_the_usual_ones_and_only_inside():
    with torch.inference_mode(), torch.autocast("cpu"), torch.autocast("cpu"):
        with usual_modes(torch.device("cpu")):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
            assert not torch.is_autocast_enabled("cpu")
        assert torch.is_inference_mode_enabled()
        assert torch.is_autocast_enabled("cpu")
