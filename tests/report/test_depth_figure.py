"""Time against depth tells an epoch where an epoch is known, and shades only what was fitted."""

import dataclasses

import pytest

from albench.report.depth_figure import depth_drawing
from albench.report.findings import find
from albench.report.style import looks

from . import made_up

pytestmark = pytest.mark.usefixtures("styled")


def drawing(records):
    (regime,) = find(records).regimes
    return depth_drawing(regime, looks(regime.everything), "1")


def on(records, dataset):
    return [
        made_up.record(dataclasses.replace(one.scenario, dataset=dataset), seconds=one.seconds, round=one.round)
        for one in records
    ]


BP = {("bp", "eager", 1): made_up.product(0.0, 0.5, start_ms=0.0)}


def test_an_epoch_is_a_pass_over_the_training_instances():
    # 0.5 ms a layer and mini-batch of 16: at ℓ = 64 it is 32 ms, and 1437 / 16 of them are 2.874 s.
    found = drawing(made_up.sweep(BP, width=32, batch_size=16, noise=0.0))
    assert "32.0 ms at ℓ = 64 (2.87 s an epoch)" in found.alt
    assert "the left one times the 89.8 mini-batches" in found.limits
    assert "not an epoch that was timed" in found.limits


def test_what_is_drawn_at_random_has_no_epoch():
    found = drawing(on(made_up.sweep(BP, width=32, batch_size=16), "synthetic"))
    assert "epoch" not in found.alt + found.limits
    assert b"nan" not in found.svg


def test_bands_are_said_where_they_are_drawn():
    fitted = drawing(made_up.sweep(made_up.SMALL, width=32, batch_size=16))
    thin = drawing(made_up.sweep(made_up.SMALL, width=32, batch_size=16, lengths=(20,)))
    names = "AL fused, BP, 1 thread and AL serial on ℓ/2 lanes (projected)"
    words = f"Shaded: where the fit of {names} lies in 95 % of its resamples."
    assert words in fitted.reading
    assert "Shaded" not in thin.reading
    assert len(thin.svg) < len(fitted.svg)
