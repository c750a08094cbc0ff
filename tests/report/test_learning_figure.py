"""The learning figure and its table say how networks were trained, and no more than that."""

from albench.report.findings import find
from albench.report.learning_figure import learning_drawing
from albench.report.tabulation import accuracy_table

from . import made_up

ACCURACY = {"al": {2: 0.9, 8: 0.8}, "bp": {2: 0.95, 8: 0.94}}


def accuracy_of(*rates):
    records = [one for rate in rates for one in made_up.trained(ACCURACY, learning_rate=rate)]
    (accuracy,) = find(records).accuracies
    return accuracy


def test_one_recipe_is_called_one_and_a_choice_of_rates_is_not():
    assert "by one stated recipe" in learning_drawing(None, accuracy_of(1e-3), "x").limits
    limits = learning_drawing(None, accuracy_of(1e-3, 3e-3), "x").limits
    assert "by the stated recipes only" in limits
    assert "tuned" not in limits, "at each depth the better rate is told of, which is a tuning of sorts"


def test_a_row_tells_its_rate_once():
    rows = {row.cells[0].text: row.cells[0].detail for row in accuracy_table(accuracy_of(1e-3, 3e-3)).rows}
    assert rows["AL fused, learning rate 0.003"] == "5 seeds, N = 2\N{NARROW NO-BREAK SPACE}000"
    (al, _) = accuracy_table(accuracy_of(1e-3)).rows
    assert al.cells[0].detail.endswith("rate 0.001"), "a series that is not named by its rate says it beside"
