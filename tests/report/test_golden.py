"""What is published stays: verdicts, shares, break-evens and winners of golden records are those that were pinned."""

from __future__ import annotations

import math
from typing import Any

import pytest

from . import golden_records


def differences(found: Any, pinned: Any, where: str = "") -> list[str]:
    """Return every place in which two trees differ: words at all, numbers in their third digit."""
    if isinstance(found, dict) and isinstance(pinned, dict):
        told = [f"{where}: {key} is {'new' if key in found else 'gone'}" for key in found.keys() ^ pinned.keys()]
        for key in found.keys() & pinned.keys():
            told += differences(found[key], pinned[key], f"{where} / {key}")
        return sorted(told)
    if isinstance(found, list) and isinstance(pinned, list) and len(found) == len(pinned):
        return [line for one, other in zip(found, pinned, strict=True) for line in differences(one, other, where)]
    if isinstance(found, float | int) and isinstance(pinned, float | int):
        # Libraries of linear algebra round differently, which may turn the last digit by one.
        same = math.isclose(found, pinned, rel_tol=1.5e-3, abs_tol=1e-4) or (math.isnan(found) and math.isnan(pinned))
        return [] if same else [f"{where}: {found}, pinned {pinned}"]
    return [] if found == pinned else [f"{where}: {found}, pinned {pinned}"]


@pytest.mark.parametrize("name", golden_records.SOURCES)
def test_what_is_published_stays(name: str) -> None:
    """Where a change is meant: `python -m tests.report.golden_records && git diff tests/report/golden`."""
    found = golden_records.found_in(golden_records.records_of(name))
    assert differences(found, golden_records.pinned(name)) == []


def test_a_difference_is_seen() -> None:
    pinned = {"verdict": "O(nℓ)", "product share": [0.75, 0.65, 0.84], "of": [math.nan, 1, math.inf]}
    assert differences(pinned, pinned) == []
    assert len(differences(pinned | {"verdict": "mixed"}, pinned)) == 1
    assert len(differences(pinned | {"product share": [0.752, 0.65, 0.84]}, pinned)) == 1
    assert len(differences(pinned | {"of": [math.nan, 1, 64.0]}, pinned)) == 1
    assert len(differences(pinned | {"more": 1}, pinned)) == 1
