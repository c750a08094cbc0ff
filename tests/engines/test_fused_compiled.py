"""The fused engine compiled: when it is, that it is right, and what happens without a compiler."""

import shutil

import pytest
import torch

from albench.engines import make_engine, tick
from albench.engines.tick import Tick, torch_version
from albench.machine import COMPILES_TICKS_RIGHT
from tests.engines.locally_supervised import LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import TOLERANCE, batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)


def test_short_runs_are_not_compiled_and_long_ones_are(monkeypatch):
    """When, not how: the compiler itself is left out here."""
    monkeypatch.setattr("albench.engines.fused.AUTO_COMPILE_MINIBATCHES", 6)
    monkeypatch.setattr(Tick, "_compile", lambda self, body: body)
    data = batches(20)
    compiled = {}
    for choice in ("auto", True, False):
        with make_engine("fused", network(8), lanes=1, compile=choice) as engine:
            engine.fit(data[:5])
            early = engine._tick is not None
            engine.fit(data[5:])
            compiled[choice] = (early, engine._tick is not None and engine._tick.compiled)
    assert compiled == {"auto": (False, True), True: (True, True), False: (False, False)}


def test_without_a_compiler_training_goes_on_and_says_so(monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("no working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", fails)
    data = batches(12)
    serial, _ = trained("serial", data)
    with make_engine("fused", network(8), learning_rate=1e-2, lanes=1, compile=True) as engine:
        engine.fit(data)
        assert engine.notes == ["not compiled (RuntimeError: no working C++ compiler found)"]
        assert largest_difference(serial, engine.state_dict()) <= 1e-5


def test_a_torch_that_compiles_wrongly_is_not_asked_to(monkeypatch):
    """2.11 trained the second component on the input of the mini-batch after."""
    monkeypatch.setattr(tick, "COMPILES_TICKS_RIGHT", (99,))
    data = batches(12)
    serial, _ = trained("serial", data)
    with make_engine("fused", network(8), learning_rate=1e-2, lanes=1, compile=True) as engine:
        engine.fit(data)
        (note,) = engine.notes
        assert note.startswith("not compiled (torch ")
        assert note.endswith("does it wrongly for a CPU: install 2.12 or newer)")
        assert largest_difference(serial, engine.state_dict()) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_compiled_is_equal_to_serial(dtype, device):
    """Two engines of one process too, of different sizes: neither may take what was compiled for the other."""
    if device == "cpu" and not shutil.which("g++"):
        pytest.skip("no C++ compiler on this machine: g++ is not on the path")
    data = [(x.to(device), y.to(device)) for x, y in batches(100, ragged=3, dtype=dtype)]
    options = {"learning_rate": lambda k: 1e-3 / (1 + k / 100), "weight_decay": 1e-3}
    for hidden_layers in (4, 8):
        serial, losses = trained("serial", data, net=network(hidden_layers, dtype=dtype).to(device), fits=2, **options)
        net = network(hidden_layers, dtype=dtype).to(device)
        fused, fused_losses = trained("fused", data, net=net, fits=2, compile=True, **options)
        assert largest_difference(serial, fused) <= TOLERANCE[dtype]
        for one, other in zip(losses, fused_losses, strict=True):
            assert other == pytest.approx(one, rel=1e-3 if dtype is torch.float32 else 1e-9)


@pytest.mark.slow
def test_compiled_without_a_written_reverse_pass():
    """As far as this torch can; if it cannot, it has to say so and be right all the same."""
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler on this machine: g++ is not on the path")
    data = batches(20, ragged=3, dtype=torch.float64)
    serial, _ = trained("serial", data, net=LocalNetwork(StackableLocallySupervised).double())
    net = LocalNetwork(StackableLocallySupervised).double()
    with make_engine("fused", net, learning_rate=1e-2, lanes=1, compile=True) as engine:
        engine.fit(data)
        if torch_version() >= COMPILES_TICKS_RIGHT and hasattr(torch._dynamo.config, "trace_autograd_ops"):
            assert not engine.notes
            assert engine.recordings == 1
        assert largest_difference(serial, engine.state_dict()) <= 1e-10
