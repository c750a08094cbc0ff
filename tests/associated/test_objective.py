"""The local objective: few distinct targets give the losses and gradients of plain ones, and losses are means."""

import pytest
import torch

from albench.associated import TargetRows, associated_loss, autoencoder_loss, one_hot_target
from tests.engines.made_up import CLASSES, FEATURES, network


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 0, 0], [4, 4, 4], [2], [0, 1, 1, 0, 3, 3, 3, 3, 1]])
@pytest.mark.parametrize("first", [True, False])
def test_distinct_targets_are_plain_ones_computed_once(labels, first):
    """The same losses and gradients to 1e-12, with absent classes, fewer instances than classes, and one instance."""
    net = network(4, dtype=torch.float64)
    labels = torch.tensor(labels)
    x = torch.randn(len(labels), FEATURES, dtype=torch.float64)
    results = []
    for distinct in (True, False):
        net.zero_grad()
        target = net.first_target(labels, dtype=torch.float64, distinct_targets=distinct)
        assert len(target.rows_RW) == (CLASSES if distinct else len(labels))
        update = net.components[0](x, target)
        component = net.components[0]
        if not first:
            component = net.components[1]
            update = component(update.features, update.target)
        sum(update.losses.values()).backward()
        gradients = {name: p.grad.clone() for name, p in component.named_parameters()}
        results.append((update.losses, gradients, update.target.of_instances()))
    (losses, gradients, rows), (plain_losses, plain_gradients, plain_rows) = results
    for name in losses:
        assert losses[name].item() == pytest.approx(plain_losses[name].item(), rel=1e-12)
    for name in gradients:
        torch.testing.assert_close(gradients[name], plain_gradients[name], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(rows, plain_rows, rtol=1e-14, atol=1e-15)


def test_auto_takes_the_fewer_rows():
    net = network(4)
    for count, rows in [(CLASSES - 1, CLASSES - 1), (CLASSES, CLASSES), (CLASSES + 1, CLASSES), (50, CLASSES)]:
        target = net.first_target(torch.zeros(count, dtype=torch.int64), dtype=torch.float32, distinct_targets="auto")
        assert len(target.rows_RW) == rows
        assert (target.index_B is None) == (count <= CLASSES), "with as many labels as classes nothing is saved"


def test_real_valued_targets_are_taken_as_they_are():
    y = torch.rand(6, CLASSES)
    assert network(4).first_target(y, dtype=torch.float32).rows_RW is y


def test_distinct_targets_stay_exact_down_the_whole_network():
    """Through four components: what the last one is asked to fit is still the same, and so are its gradients."""
    net = network(8, dtype=torch.float64)
    labels = torch.tensor([0, 2, 2, 2, 0, 0, 2, 0, 0, 1, 0, 0])
    x = torch.randn(len(labels), FEATURES, dtype=torch.float64)
    gradients = []
    for distinct in (True, False):
        net.zero_grad()
        features, target = x, net.first_target(labels, dtype=torch.float64, distinct_targets=distinct)
        for component in net.components:
            features, target, losses = component(features, target)
            sum(losses.values()).backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_losses_are_means_over_instances_and_features():
    """Not sums, as the paper's norms might be read: rates are tuned to means."""
    bridged, target = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert associated_loss(bridged, target).item() == pytest.approx((0 + 4 + 9 + 1) / 4)
    assert autoencoder_loss(bridged, TargetRows(target)).item() == pytest.approx(14 / 4)
    share = torch.tensor([0.25, 0.75])
    weighted = autoencoder_loss(bridged, TargetRows(target, torch.tensor([0, 1, 1, 1]), share))
    assert weighted.item() == pytest.approx(0.25 * 4 / 2 + 0.75 * 10 / 2)


@pytest.mark.parametrize("distinct", [True, False])
def test_one_more_leading_dimension_gives_one_loss_an_entry(distinct):
    """What stacking engines rely on."""
    labels = torch.tensor([[0, 1, 1, 4], [3, 3, 3, 3], [2, 1, 0, 4]])
    parts = [one_hot_target(row, CLASSES, dtype=torch.float64, distinct_targets=distinct) for row in labels]
    stacked = TargetRows(*(None if p[0] is None else torch.stack(p) for p in zip(*parts, strict=True)))
    decoded = torch.rand(stacked.rows_RW.shape, dtype=torch.float64)
    losses = autoencoder_loss(decoded, stacked)
    bridged = torch.rand(3, 4, CLASSES, dtype=torch.float64)
    associated = associated_loss(bridged, stacked.of_instances())
    assert losses.shape == associated.shape == (3,)
    for k, part in enumerate(parts):
        assert losses[k].item() == pytest.approx(autoencoder_loss(decoded[k], part).item(), rel=1e-14)
        assert associated[k].item() == pytest.approx(associated_loss(bridged[k], part.of_instances()).item(), rel=1e-14)


def test_shares_are_of_this_mini_batch_and_sum_to_one():
    target = one_hot_target(torch.tensor([1, 1, 3]), CLASSES, dtype=torch.float64, distinct_targets=True)
    assert target.share_R.tolist() == pytest.approx([0, 2 / 3, 0, 1 / 3, 0])
    assert torch.equal(target.rows_RW, torch.eye(CLASSES, dtype=torch.float64))
