"""Runs of the graph engine beside serial's, and the replays that were counted in them."""

from albench.engines import make_engine
from albench.engines.capture import WARM_UPS
from tests.engines.device_runs import moved, trained_on
from tests.engines.made_up import assert_bitwise_equal, batches, network

replays: list[int] = []
"""One entry a replay, filled where a test uses the fixture `_warm_ups`."""


def of_sizes(*sizes, features=12):
    return [batches(1, batch_size=size, seed=k, features=features)[0] for k, size in enumerate(sizes)]


def assert_serials(data, *, device="cpu", make=network, fits=1, lanes=None, hidden_layers=8, **options):
    """Train with both engines and compare every bit; return how often the graph engine recorded."""
    options.setdefault("learning_rate", 1e-2)
    fresh = (lambda: network(hidden_layers)) if make is network else make
    serial, losses = trained_on(device, "serial", data, net=fresh(), **options)
    size = -(-len(data) // fits)
    with make_engine("graph", fresh().to(device), lanes=lanes, **options) as engine:
        for start in range(0, len(data), size):
            engine.fit(moved(data[start : start + size], device))
        assert_bitwise_equal(serial, engine.state_dict())
        assert engine.losses == losses
    assert engine.losses == losses, "losses outlive the recording"
    return engine.recordings


def warmed_up(record, counts):
    """Return a recorder that runs the body on the CPU as often as a real one would, and counts replays in `counts`."""

    def recorded(body, *, device, **options):
        if device.type == "cpu":
            for _ in range(WARM_UPS + 1):
                body()
        replay = record(body, device=device, **options)

        def counted():
            counts.append(1)
            replay()

        return counted

    return recorded
