"""The full made-up report, rendered once for all tests of the room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from matplotlib import rc_context

from albench.report import Findings, find, render, side_by_side
from albench.report.drawing import Drawing
from albench.report.figures import draw
from albench.report.side_by_side import SideBySide
from albench.report.style import STYLE

from . import made_up

HOSTILE = "</td><script>alert('x')</script> & \"quoted\" | *bold* [red]markup[/red] `tick`"
COMMAND = 'albench report "reports/quick <start>"'


@pytest.fixture
def styled() -> Iterator[None]:
    """The look of a report, put around figures that are drawn one by one."""
    with rc_context(STYLE):
        yield


def pair_of(**environment: object) -> SideBySide:
    """The full made-up report beside itself on another commit: its fused engine a fifth slower, and one case failed.

    `environment` is what else is another one in B.
    """
    before = made_up.everything()
    after = []
    for record in before:
        slow = 1.2 if record.scenario.engine == "fused" and record.scenario.purpose == "time" else 1.0
        fields = {"environment": made_up.ENVIRONMENT | {"commit": "<b>new</b>"} | environment}
        if record.scenario.engine == "serial" and record.scenario.hidden_layers == 2:
            fields |= {"seconds": None, "status": "failed", "reason": HOSTILE}
        elif record.seconds:
            fields |= {"seconds": slow * record.seconds}
        after.append(msgspec.structs.replace(record, **fields))
    return side_by_side(("runs/α <a>", before, ()), ("runs/β|b", after, ()))


@pytest.fixture(scope="session")
def findings() -> Findings:
    return find(made_up.everything())


@pytest.fixture(scope="session")
def drawings(findings: Findings) -> list[Drawing]:
    return draw(findings)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a report with everything in it, a hostile reason and a hostile note among it."""
    out = tmp_path_factory.mktemp("report")
    records = made_up.everything()
    records.append(made_up.failed(HOSTILE, "failed", engine="fused"))
    noted = records[0].scenario
    records.append(made_up.record(noted, seconds=records[0].seconds, round=9, notes=[HOSTILE]))
    assert render(records, out, command=COMMAND, title="Made up <title>") == out / "index.html"
    return out
