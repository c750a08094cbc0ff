"""What is traced is checked before anything runs."""

import pytest

from albench.errors import UsageError
from albench.harness import traceable
from albench.harness.scenario import Scenario
from albench.harness.traceable import MOST_SPANS, planned, recorded_case, writable
from albench.methods import METHODS, SPAN_UNITS


def scenario(**changes):
    fields = {"method": "al", "engine": "threads", "hidden_layers": 8, "width": 16, "batch_size": 16, "minibatches": 12}
    return Scenario(**{**fields, **changes})


def test_a_huge_run_is_cut_to_what_a_trace_holds():
    assert planned(scenario()) == (scenario(), ())
    assert planned(scenario(), 3).scenario.minibatches == 3
    plan = planned(scenario(hidden_layers=40, minibatches=2**31 - 1))
    assert plan.scenario.minibatches == MOST_SPANS // 20
    assert "2500 mini-batches were run of the 2147483647 asked for" in plan.notes[0]
    with pytest.raises(UsageError, match="minibatches is 0"):
        planned(scenario(), 0)


@pytest.mark.parametrize(("method", "engine"), [(m, e) for m in METHODS for e in METHODS[m].engines])
def test_each_method_and_engine_is_traced_or_refused_with_the_remedy(method, engine):
    options = {"lanes": 2, "microbatches": 2} if METHODS[method].microbatches else {}
    case = scenario(method=method, engine=engine, **options)
    if engine in SPAN_UNITS.get(method, {}):
        assert planned(case).scenario.engine == engine
    else:
        with pytest.raises(UsageError, match=r"cannot be traced: what can be is AL on serial, threads, ranks.*; BP on"):
            planned(case)


def test_a_case_is_found_by_its_key_or_how_it_begins():
    suite = traceable.Path("harness")
    (first, *_) = traceable.suites.suite_scenarios("harness")
    assert recorded_case(suite, first.key) == first
    assert recorded_case(suite, first.key[:12]) == first
    for key, words in [("zz", "no case of harness has the key 'zz': `albench list SUITE`"), ("", "has the key ''")]:
        with pytest.raises(UsageError, match=words):
            recorded_case(suite, key)
    with pytest.raises(UsageError, match="give the whole key"):
        recorded_case(suite, next(c for c in "0123456789abcdef" if _begin(c) > 1))
    with pytest.raises(UsageError, match="give both"):
        recorded_case(suite, None)


def _begin(letter):
    return sum(one.key.startswith(letter) for one in traceable.suites.suite_scenarios("harness"))


def test_where_nothing_can_be_written_nothing_is_run(tmp_path):
    assert list(writable(tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below", traceable.Path("/proc/albench")):
        with pytest.raises(UsageError, match="cannot be written .*give another directory with --out"):
            writable(directory)


def test_clocks_of_several_hosts_are_not_compared(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "x", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    planned(scenario())
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="2 of 4 processes are on this host"):
        planned(scenario())
