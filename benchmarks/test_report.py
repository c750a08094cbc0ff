"""How long a report takes and how large its page is, where a set of records is far larger than any suite of albench's.

Claim: fifty thousand records, from the file to the page, take 20 s at most on two cores, and the page has 5 MB at most,
whatever the records are: one kind of work or many, or failures only. Both are printed, and neither is asserted here;
`tests/report/test_extent.py` bounds what a page of a small set holds.
"""

from __future__ import annotations

import msgspec
import pytest

from albench.harness import records
from albench.report import find, side_by_side, write, write_pair
from tests.report import made_up

SETS = {
    "one kind of work": {"series": 20, "depths": 12, "lengths": 10, "rounds": 21},
    "5,000 scenarios": {"series": 4, "depths": 10, "lengths": 5, "rounds": 10, "works": 25},
    "500 kinds of work": {"series": 2, "depths": 5, "lengths": 1, "rounds": 10, "works": 500},
    "failures": {"series": 20, "depths": 10, "lengths": 25, "rounds": 10, "failing": True},
}
SMOKE = {"series": 2, "depths": 3, "lengths": 3, "rounds": 2}


@pytest.fixture
def run_of(tmp_path, sizes):
    """Return a function that writes a set of records into a directory."""

    def make(name):
        failing = {"failing": True} if name == "failures" else {}
        made = made_up.many(**sizes(SETS[name], **failing))
        (tmp_path / records.FILE_NAME).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in made))
        return tmp_path

    return make


@pytest.fixture
def told(benchmark, capsys):
    """Return a function that times one rendering and prints how long it took and how large the page is."""

    def run(name, render):
        page = benchmark.pedantic(render, rounds=1, iterations=1)
        benchmark.extra_info["page_bytes"] = size = page.stat().st_size
        seconds = benchmark.stats.stats.max if benchmark.stats else float("nan")
        with capsys.disabled():
            print(f"\n{name}: {seconds:.2f} s, a page of {size / 1e6:.2f} MB")

    return run


@pytest.mark.parametrize("name", SETS)
def test_one_run(name, run_of, told):
    source = run_of(name)
    told(name, lambda: write(find(records.read(source)), source / "page", command="albench report"))


def test_two_runs_side_by_side(run_of, told):
    source = run_of("5,000 scenarios")

    def render():
        both = side_by_side(*((name, records.read(source), ()) for name in "AB"))
        return write_pair(both, source / "page", command="albench report")

    told("5,000 scenarios beside themselves", render)
