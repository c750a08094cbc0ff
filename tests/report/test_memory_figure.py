"""Peak memory against depth: of the device where there is one, of the longest run, and where depths were several."""

import msgspec
import pytest

from albench.harness.memory import Memory
from albench.report.findings import find
from albench.report.memory_figure import memory_drawing, memory_lines
from albench.report.style import looks
from albench.report.words import MEBIBYTE

from . import made_up

pytestmark = pytest.mark.usefixtures("styled")

LAWS = {("al", "fused", 1): made_up.product(1.0, 0.1), ("bp", "eager", 1): made_up.product(0.4, 0.2)}


def memory(mebibytes, device=None):
    return Memory(
        minibatches=4,
        host_peak_bytes=(100 + mebibytes) * MEBIBYTE,
        host_baseline_bytes=100 * MEBIBYTE,
        process_peak_bytes=[],
        host_method="",
        device_peak_bytes=None if device is None else device * MEBIBYTE,
    )


def records(of, **changes):
    given = {"width": 32, "batch_size": 16, "depths": (2, 8), "rounds": 2} | changes
    return [msgspec.structs.replace(one, memory=of(one.scenario)) for one in made_up.sweep(LAWS, **given)]


def drawing(found):
    made = find(found)
    (regime,) = made.regimes
    return memory_drawing(regime, made.resources_of(regime.work), looks(regime.everything), "1")


def test_the_longest_run_of_each_depth_is_told():
    found = records(lambda one: memory(one.hidden_layers + (1000 if one.minibatches == 80 else 0)))
    (resources,) = find(found).resources
    assert memory_lines(resources) == ("host", {"AL fused": {2: 1002, 8: 1008}, "BP, 1 thread": {2: 1002, 8: 1008}})
    found = drawing(found)
    assert "AL fused 1\N{NARROW NO-BREAK SPACE}002 at ℓ = 2" in found.alt
    assert "pays for their libraries too" in found.limits


def test_a_device_goes_before_the_host():
    found = drawing(records(lambda one: memory(5, device=10 * one.hidden_layers)))
    assert "MiB of device memory that training took at its peak: AL fused 20.0 at ℓ = 2, 80.0 at ℓ = 8" in found.alt
    assert "libraries too" not in found.limits


def test_a_run_that_took_next_to_nothing_has_a_place():
    found = drawing(records(lambda one: memory(0 if one.hidden_layers == 2 else 7)))
    assert "AL fused 0 at ℓ = 2, 7.00 at ℓ = 8" in found.alt
    assert b"nan" not in found.svg


def test_one_depth_or_no_memory_is_no_figure():
    assert memory_lines(None) == ("", {})
    (resources,) = find(records(lambda one: memory(3), depths=(2,))).resources
    assert memory_lines(resources) == ("", {})
