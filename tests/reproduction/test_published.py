"""Published: the paper's numbers are each other's check, where it printed one thing twice."""

import pytest

from albench.reproduction.published import SCALES, Measure, published


def value(table, **measure):
    found = [one for one in published(table) if one.measure == Measure(**measure)]
    assert len(found) == 1, measure
    return found[0]


def test_how_many_numbers_each_table_has():
    counts = {f"table{i}": len(published(f"table{i}")) for i in range(2, 8)}
    assert counts == {"table2": 5, "table3": 11, "table4": 10, "table5": 6, "table6": 6, "table7": 24}
    assert published("figure5") == ()


def test_each_cell_is_printed_once():
    for i in range(2, 8):
        cells = [one.measure for one in published(f"table{i}")]
        assert len(set(cells)) == len(cells)


def test_table_7_s_ratios_are_those_of_its_distances():
    """Of rounded distances: as far off as rounding may take them."""
    for one in published("table7"):
        if one.measure.quantity == "ratio":
            where = {name: getattr(one.measure, name) for name in ("dataset", "network", "method")}
            inter = value("table7", **where, quantity="inter-class distance").value
            intra = value("table7", **where, quantity="intra-class distance").value
            off = 0.005 + (inter + 0.005) / (intra - 0.005) - inter / intra
            assert one.value == pytest.approx(inter / intra, abs=off)


def test_table_2_s_mlp_is_table_6_s_network_of_two_component_layers():
    mlp = value("table2", dataset="mnist", network="mlp", method="al", quantity="test accuracy")
    deep = value("table6", dataset="mnist", network="mlp", method="al", quantity="test accuracy", components=2)
    assert mlp.value == pytest.approx(SCALES[mlp.unit] * deep.value, abs=0.05)
    assert (mlp.unit, deep.unit) == ("%", "")


def test_losses_fall_from_layer_to_layer_as_the_text_says():
    for components in (2, 3):
        losses = [one.value for one in published("table5") if one.measure.components == components]
        assert losses == sorted(losses, reverse=True)
        assert len(losses) == components


def test_digits_are_those_that_are_printed():
    dtp = value("table2", dataset="mnist", network="mlp", method="dtp", quantity="test accuracy")
    assert (dtp.value, dtp.deviation, dtp.digits, dtp.unit) == (96.43, 0.04, 2, "%")
    resnet = value("table4", dataset="cifar100", network="resnet32", method="al", quantity="test accuracy")
    assert (resnet.value, resnet.deviation, resnet.digits) == (59.0, 1.6, 1)
    loss = published("table5")[-1]
    assert (loss.value, loss.digits, loss.measure.layer) == (6.7192e-10, 4, 3)
