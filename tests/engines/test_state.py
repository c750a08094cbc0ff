"""The state of a run: whole or refused, plain data, a snapshot, and the same for every engine."""

import copy
import io
import threading

import pytest
import torch

from albench.engines import make_engine
from albench.errors import UsageError
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import assert_bitwise_equal, batches, largest_difference, network, tensors, trained

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_cpu_twins")]
ENGINES = ["serial", "threads", "fused", "streams", "graph"]


def test_a_state_that_does_not_fit_changes_nothing():
    with make_engine("serial", network(4)) as other:
        foreign = other.state_dict()
    with make_engine("serial", network(6)) as engine:
        before = engine.state_dict()
        for state, words in [
            (foreign, "has 2 components, the network 3"),
            ({}, "not one of an albench engine"),
            ({**before, "version": 99}, "version 99"),
        ]:
            with pytest.raises(UsageError, match=words):
                engine.load_state_dict(state)
        assert_bitwise_equal(before, engine.state_dict())


def first_weight(state):
    return state["components"][1]["optimizer"]["f.0.weight"]


SPOILED = {
    "no components": lambda s: s.pop("components"),
    "components of another type": lambda s: s.update(components=3),
    "no count": lambda s: s.pop("minibatches"),
    "no version": lambda s: s.pop("version"),
    "no optimizer": lambda s: s["components"][1].pop("optimizer"),
    "a component that is none": lambda s: s["components"].__setitem__(1, None),
    "no weight": lambda s: s["components"][1]["weights"].pop("g.0.bias"),
    "another weight": lambda s: s["components"][1]["weights"].update(extra=torch.zeros(1)),
    "a weight of another shape": lambda s: s["components"][1]["weights"].update({"g.0.bias": torch.zeros(8)}),
    "a moment of another shape": lambda s: first_weight(s).update(exp_avg=torch.zeros(2, 2)),
    "no second moment": lambda s: first_weight(s).pop("exp_avg_sq"),
    "moments of no parameter": lambda s: s["components"][1]["optimizer"].update(q=first_weight(s)),
    "a generator cut short": lambda s: s["components"][1].update(generator=torch.zeros(3, dtype=torch.uint8)),
    "weights that are none": lambda s: s["components"][1].update(weights=3),
    "moments that are none": lambda s: s["components"][1].update(optimizer=3),
    "a moment that is none": lambda s: first_weight(s).update(exp_avg=3),
    "a generator that is none": lambda s: s["components"][1].update(generator=3),
    "no generator": lambda s: s["components"][1].update(generator=None),
}


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("spoil", SPOILED)
def test_a_spoiled_state_is_refused_before_anything_changes(spoil, name):
    """Half-loaded it would be a run that never was: component 0 is as it was, though only component 1 is wrong."""
    with make_engine("serial", network(4, seed=1)) as engine:
        engine.fit(batches(2))
        state = copy.deepcopy(engine.state_dict())
    SPOILED[spoil](state)
    with make_engine(name, network(4)) as engine:
        before = engine.state_dict()
        with pytest.raises(UsageError) as caught:
            engine.load_state_dict(state)
        assert "\n" not in str(caught.value)
        assert_bitwise_equal(before, engine.state_dict())


@pytest.mark.parametrize("state", [None, 3, [], {"format": "another"}], ids=str)
def test_what_is_no_state_is_refused(state):
    with make_engine("serial", network(4)) as engine, pytest.raises(UsageError, match="not one of an albench engine"):
        engine.load_state_dict(state)


@pytest.mark.parametrize("name", ENGINES)
def test_a_state_is_a_snapshot(name):
    """Training on does not change what was saved, nor does loading it tie the run to it."""
    with make_engine(name, network(8), learning_rate=1e-2) as engine:
        engine.fit(batches(3))
        saved = engine.state_dict()
        kept = copy.deepcopy(saved)
        engine.fit(batches(3))
        assert_bitwise_equal(kept, saved)
        engine.load_state_dict(saved)
        engine.fit(batches(3))
        assert_bitwise_equal(kept, saved)


@pytest.mark.parametrize("name", ENGINES)
def test_loading_gives_back_what_was_saved(name):
    with make_engine("serial", network(8, seed=1), learning_rate=1e-2) as engine:
        engine.fit(batches(3))
        state = engine.state_dict()
    with make_engine(name, network(8)) as engine:
        engine.load_state_dict(state)
        assert_bitwise_equal(state, engine.state_dict())


def test_an_earlier_state_takes_the_run_back():
    """Also the optimizer's: loading the state of a fresh engine forgets what Adam has learned."""
    with make_engine("serial", network(8), learning_rate=1e-2) as engine:
        fresh = engine.state_dict()
        engine.fit(batches(5))
        engine.load_state_dict(fresh)
        assert engine.minibatches_seen == 0
        engine.fit(batches(5))
        assert_bitwise_equal(trained("serial", batches(5))[0], engine.state_dict())


@pytest.mark.parametrize("second", ENGINES)
@pytest.mark.parametrize("first", ENGINES)
def test_any_engine_finishes_what_another_began(first, second):
    """Through a file that holds plain data only, in a fresh network of another seed, with rates that go on counting."""
    data = batches(16, ragged=3, dtype=torch.float64)
    rate = lambda k: 1e-2 / (1 + k)  # noqa: E731 - resumes right only if k goes on counting
    whole, _ = trained("serial", data, net=network(8, dtype=torch.float64), learning_rate=rate)
    file = io.BytesIO()
    with make_engine(first, network(8, dtype=torch.float64), learning_rate=rate, lanes=2) as engine:
        engine.fit(data[:9])
        torch.save(engine.state_dict(), file)
    file.seek(0)
    with make_engine(second, network(8, seed=5, dtype=torch.float64), learning_rate=rate, lanes=2) as engine:
        engine.load_state_dict(torch.load(file, weights_only=True))
        engine.fit(data[9:])
        end = engine.state_dict()
    assert end["minibatches"] == 17
    assert tensors(end).keys() == tensors(whole).keys()
    if "fused" in (first, second):
        assert largest_difference(whole, end) <= 1e-10
    else:
        assert_bitwise_equal(whole, end)


def test_a_component_without_a_generator_has_none_in_its_state():
    def without():
        net = LocalNetwork(LocallySupervised)
        for component in net.components:
            del component.generator
        return net

    with make_engine("serial", without()) as engine:
        engine.fit(batches(2))
        state = engine.state_dict()
    assert state["components"][0]["generator"] is None
    with make_engine("serial", without()) as engine:
        engine.load_state_dict(state)
    with (
        make_engine("serial", LocalNetwork(LocallySupervised)) as engine,
        pytest.raises(UsageError, match="generator's state of component 0"),
    ):
        engine.load_state_dict(state)


class Counting(LocallySupervised):
    """Has something to save that is no tensor."""

    calls = None

    def forward(self, features, target):
        self.calls = {"number": (self.calls or {"number": 0})["number"] + 1}
        return super().forward(features, target)

    def get_extra_state(self):
        return self.calls

    def set_extra_state(self, state):
        self.calls = state


@pytest.mark.parametrize("name", ["serial", "threads", "ranks", "streams"])
def test_extra_state_of_modules_is_saved_loaded_and_brought_home(name, tmp_path):
    net = LocalNetwork(Counting)
    with make_engine(name, net, lanes=2) as engine:
        fresh = engine.state_dict()
        engine.fit(batches(3))
        assert [component.calls for component in net.components] == [{"number": 3}] * 4
        state = engine.state_dict()
        torch.save(state, tmp_path / "state.pt")
        engine.fit(batches(2))
        assert state["components"][3]["weights"]["_extra_state"] == {"number": 3}
        engine.load_state_dict(fresh)
        assert [component.calls for component in net.components] == [None] * 4
        engine.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        engine.fit(batches(1))
        assert [component.calls for component in net.components] == [{"number": 4}] * 4


@pytest.mark.parametrize("name", ["serial", "threads", "ranks"])
def test_extra_state_that_is_set_between_runs_reaches_every_process(name):
    """The last component is on the other rank; no tensor tells that something has changed."""
    net = LocalNetwork(Counting)
    with make_engine(name, net, lanes=2) as engine:
        engine.fit(batches(2))
        net.components[3].calls = {"number": 50}
        engine.fit(batches(2))
    assert [component.calls["number"] for component in net.components] == [4, 4, 4, 52]


class Plain:
    """No data that another process takes without running code for it."""


class Opaque(LocallySupervised):
    make, kept = Plain, None

    def forward(self, features, target):
        self.kept = self.make()
        return super().forward(features, target)

    def get_extra_state(self):
        return self.kept

    def set_extra_state(self, state):
        self.kept = state


class Locked(Opaque):
    make = staticmethod(threading.Lock)


@pytest.mark.parametrize(("kind", "why"), [(Opaque, "Unsupported global.*Plain"), (Locked, "pickle.*lock")])
def test_extra_state_that_cannot_go_to_other_processes_is_refused_in_one_line(kind, why):
    with make_engine("ranks", LocalNetwork(kind), lanes=2) as engine:
        with pytest.raises(UsageError, match=rf"get_extra_state\(\) of a module returned .*{why}") as caught:
            engine.fit(batches(2))
        assert "\n" not in str(caught.value)


def test_a_snapshot_has_an_extra_state_of_its_own():
    net = LocalNetwork(Counting)
    with make_engine("serial", net) as engine:
        engine.fit(batches(1))
        state = engine.state_dict()
        for _ in range(2):
            net.components[0].calls["number"] = 99
            assert state["components"][0]["weights"]["_extra_state"] == {"number": 1}
            engine.load_state_dict(state)
