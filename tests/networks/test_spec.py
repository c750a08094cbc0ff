"""Names and sizes of networks: told without torch, and refused in one line."""

import importlib
import subprocess
import sys

import pytest

from albench.errors import UsageError
from albench.networks import NETWORKS, NetworkSpec, associated_network, network_named, twin_network

IMAGES = {"input_shape": (3, 8, 8), "classes": 5, "width": 10, "hidden_layers": 8}


def test_naming_a_network_does_not_import_torch():
    """A wrong name or size must be told at once, and torch takes seconds."""
    code = (
        "import sys; from albench.networks import NETWORKS, NetworkSpec\n"
        "NetworkSpec(name='vgg', input_shape=(3, 32, 32), classes=10, width=300, hidden_layers=8)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_builder_is_found_whatever_was_imported_before():
    """A file of a function's name would stand in the function's place once it is imported."""
    networks = importlib.import_module("albench.networks")
    for entry in NETWORKS.values():
        importlib.import_module(entry.module)
    for name in ("mlp", "cnn", "vgg", "resnet"):
        for function in (name, f"associated_{name}"):
            assert getattr(networks, function).__name__ == function
    for missing in ("gnn", "associated_gnn"):
        with pytest.raises(AttributeError, match=f"has no attribute '{missing}'"):
            getattr(networks, missing)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_name_builds_what_its_entry_says(name):
    spec = NetworkSpec(
        name=name, input_shape=(3, 8, 8), classes=5, width=10, hidden_layers=NETWORKS[name].hidden_layers or 6
    )
    net, twin = associated_network(spec), twin_network(spec)
    assert len(net.components) == spec.components == spec.hidden_layers // 2
    assert net.classes == 5
    assert twin[-1].out_features == 5


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UsageError, match="unknown network 'resnet': did you mean .*'resnet20'"):
        network_named("resnet")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "cnm"}, "unknown network 'cnm': did you mean 'cnn'"),
        ({"input_shape": (64,)}, r"input_shape is \(64,\): cnn takes images, give \(channels, height, width\)"),
        ({"input_shape": (3, 8)}, "cnn takes images"),
        ({"input_shape": ()}, r"input_shape is \(\): give the sizes of one instance"),
        ({"input_shape": (3, 0, 8)}, "give the sizes of one instance"),
        ({"input_shape": 64, "name": "mlp"}, "input_shape is 64: give the sizes of one instance"),
        ({"input_shape": (8.0,), "name": "mlp"}, "give the sizes of one instance"),
        ({"classes": 0}, "classes is 0"),
        ({"width": 2.5}, "width is 2.5"),
        ({"hidden_layers": 6}, "hidden_layers is 6: cnn has 8, give that"),
        ({"hidden_layers": 0, "name": "mlp"}, "hidden_layers is 0"),
        ({"bridge_width": 0}, "bridge_width is 0"),
        ({"bridge": "round"}, 'bridge is \'round\': give "flat" or "pooled"'),
        ({"bridge": "pooled", "name": "mlp"}, "mlp has no feature maps to pool"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(changes, words):
    with pytest.raises(UsageError, match=words) as caught:
        NetworkSpec(**{"name": "cnn"} | IMAGES | changes)
    assert "\n" not in str(caught.value)


def test_a_shape_may_be_a_list_and_is_kept_as_a_tuple_of_plain_numbers():
    """Specifications are compared and hashed."""
    spec = NetworkSpec(name="cnn", **IMAGES | {"input_shape": [3, 8, 8]})
    assert spec == NetworkSpec(name="cnn", **IMAGES)
    assert hash(spec) == hash(NetworkSpec(name="cnn", **IMAGES))
