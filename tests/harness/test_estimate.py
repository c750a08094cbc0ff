"""Estimates weigh progress and tell how long a suite takes: right in proportion, roughly right in seconds."""

from albench.harness.estimate import OF_IMAGES, estimated_seconds
from albench.harness.scenario import Scenario
from albench.methods import METHODS
from albench.networks import NETWORKS


def scenario(method, **changes):
    sizes = {"hidden_layers": 8, "width": 300, "batch_size": 32, "minibatches": 100}
    return Scenario(method=method, **({"engine": METHODS[method].engines[0]} | sizes | changes))


def step_seconds(network, method, bridge="flat"):
    short, long = (
        estimated_seconds(scenario(method, network=network, bridge=bridge, dataset="cifar10", minibatches=minibatches))
        for minibatches in (100, 200)
    )
    return (long - short) / 100


def test_networks_of_feature_maps_are_not_taken_for_mlps_of_their_width():
    """A sweep of them was said to take six seconds and took minutes."""
    assert {*OF_IMAGES} == {name for name, entry in NETWORKS.items() if entry.images}
    for name in OF_IMAGES:
        assert step_seconds(name, "al", "pooled") < step_seconds(name, "al")
        assert step_seconds(name, "bp") < step_seconds(name, "al")
    assert step_seconds("vgg", "bp") > 20 * step_seconds("mlp", "bp")
    assert 0.1 < step_seconds("cnn", "al") < 3


def test_more_lanes_and_fewer_bubbles_are_guessed_to_take_less_time():
    seconds = [
        estimated_seconds(
            scenario("gpipe", width=1024, batch_size=256, minibatches=24, lanes=lanes, microbatches=microbatches)
        )
        for lanes, microbatches in ((1, 1), (2, 4), (4, 4), (4, 8))
    ]
    assert seconds == sorted(seconds, reverse=True)


def test_guesses_know_what_takes_long():
    """Compiling is most of a short case; a pipeline takes ticks to fill, a graph of one step does not."""
    deep = {"hidden_layers": 64, "width": 32, "batch_size": 16, "minibatches": 4}
    eager, compiled, graph = (
        estimated_seconds(scenario("bp", engine=engine, **deep)) for engine in ("eager", "compiled", "graph")
    )
    assert 15 < compiled - eager < 25
    assert graph < eager
    assert graph < estimated_seconds(scenario("al", engine="graph", **deep))
