"""Parameter counts at the paper's sizes, to the number. Nothing is allocated: the largest network would take a GiB."""

import pytest
import torch

from albench.networks import associated_network, twin_network
from tests.networks.paper_counts import TABLE, Counts
from tests.networks.tiny import count


def each_part(net, twin):
    """Return what the network and its twin really have."""
    parts = [[count(function.parameters()) for function in (c.f, c.b, c.g, c.h)] for c in net.components]
    f, b, g, h = zip(*parts, strict=True)
    effective = count(net.effective_parameters())
    return Counts(sum(f), b, sum(g), sum(h), count(net.parameters()), effective, count(twin.parameters()))


@pytest.mark.parametrize("name", TABLE)
def test_every_part_has_the_published_number_of_parameters(name):
    spec, expected = TABLE[name]
    with torch.device("meta"):
        net, twin = associated_network(spec), twin_network(spec)
        x = torch.empty(2, *spec.input_shape)
    assert all(tensor.is_meta for module in (net, twin) for tensor in module.state_dict().values())
    assert each_part(net, twin) == expected._replace(printed="")
    assert count(net.effective_parameters()) + count(net.affiliated_parameters()) == count(net.parameters())
    assert net(x).shape == twin(x).shape == (2, spec.classes)


@pytest.mark.parametrize("name", [name for name, (_, counts) in TABLE.items() if counts.printed])
def test_the_numbers_round_to_what_is_known_of_the_published_code(name):
    """The table above is worked out by hand; this holds it against the millions that were read off the code."""
    counts = TABLE[name][1]
    parts = [counts.f, *counts.b, counts.g, counts.h, counts.total]
    printed = counts.printed.split()
    assert [f"{n / 1e6:.{len(p.partition('.')[2])}f}" for n, p in zip(parts, printed, strict=True)] == printed


def test_parameters_are_matched_in_mlp_and_cnn_and_nowhere_else():
    """Whoever writes "with the same number of parameters" may do so for these two."""
    matched = {spec.name for spec, counts in TABLE.values() if counts.effective == counts.twin}
    unmatched = {spec.name for spec, counts in TABLE.values() if counts.effective != counts.twin}
    assert matched == {"mlp", "cnn"}
    assert unmatched == {"vgg", "resnet20", "resnet32"}


def test_pooled_bridges_leave_a_resnet_and_its_twin_apart_by_batchnorm_only():
    _, counts = TABLE["CIFAR-10 resnet20, pooled"]
    batch_norm = 2 * (5 * 300 + 4 * 300)  # of the twin's dense layers
    assert counts.twin - counts.effective == batch_norm
