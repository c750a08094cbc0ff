"""Sweep files: what a user writes is what is measured, and what is wrong in them is said in one line."""

import dataclasses
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from albench import cli
from albench.errors import UsageError
from albench.harness import sweep_file
from albench.harness.overrides import Overrides
from albench.harness.suites import SUITES, suite_scenarios
from albench.harness.sweep_file import Changes, limits_of, read_changes, read_suite, suite_of
from tests.harness.test_runner import cases, read

__all__ = ["cases"]

FUZZ = settings(deadline=None, derandomize=True, max_examples=150)

MINE = """
description = "AL against BP"
rounds = 5
case_seconds = 20
hidden_layers = [2, 4]
minibatches = [4]

[[grid]]
contenders = [{ method = "al", engine = "fused" }, { method = "bp" }]
widths = [8]
batch_sizes = [4]
seeds = [0, 1]

[[grid]]
contenders = [{ method = "al", engine = "threads", lanes = "cores" }]
widths = [16]
batch_sizes = [8]
datasets = ["digits", "synthetic"]
hidden_layers = [8]
learning_rate = 0.5
bridge_factor = 2
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="mine.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_file_is_a_suite(written):
    suite = suite_of(str(written(MINE)))
    assert suite.description == "AL against BP"
    found = suite_scenarios(suite, cores=3)
    first, second = found[:8], found[8:]
    assert {(one.method, one.engine, one.lanes) for one in first} == {("al", "fused", 1), ("bp", "eager", 1)}
    assert {(one.hidden_layers, one.seed) for one in first} == {(2, 0), (2, 1), (4, 0), (4, 1)}
    assert {(one.width, one.batch_size, one.dataset) for one in first} == {(8, 4, "digits")}
    assert [one.dataset for one in second] == ["digits", "synthetic"]
    assert {(one.lanes, one.hidden_layers, one.bridge_width, one.learning_rate) for one in second} == {(3, 8, 32, 0.5)}


def test_a_grid_may_be_of_another_network_with_either_bridge(written):
    tables = "".join(
        f'[[grid]]\nnetwork = "cnn"\nbridge = "{bridge}"\nwidths = [8]\nbatch_sizes = [4]\nbridge_factor = 5\n'
        'contenders = [{ method = "al" }, { method = "bp" }]\n'
        for bridge in ("flat", "pooled")
    )
    text = f'datasets = ["cifar10"]\nhidden_layers = [8]\nminibatches = [4]\n{tables}'
    found = suite_scenarios(read_suite(written(text)))
    assert [(one.network, one.bridge, one.method) for one in found] == [
        ("cnn", bridge, method) for bridge in ("flat", "pooled") for method in ("al", "bp")
    ]


def test_without_grids_the_top_is_the_one_grid(written):
    suite = read_suite(
        written(
            'contenders = [{ method = "bp" }]\nhidden_layers = [3]\nwidths = [8]\nbatch_sizes = [4]\nminibatches = [2]'
        )
    )
    [one] = suite_scenarios(suite)
    assert (one.method, one.hidden_layers, one.minibatches) == ("bp", 3, 2)
    assert limits_of(suite, Changes()) == limits_of(SUITES["quick"], Changes()), "limits are as everywhere"


def test_the_example_of_the_docstring_is_one(written):
    text = sweep_file.__doc__
    examples = re.findall(r"(?:^    .*\n|^\n)+", text, re.MULTILINE)
    changes, suite = [re.sub(r"^    ", "", one, flags=re.MULTILINE) for one in examples if " = " in one]
    assert read_changes(written(changes)).overrides.widths == (64,)
    assert len(suite_scenarios(read_suite(written(suite)), cores=2)) == 2 * 2 * 3 * 3


def test_the_command_line_goes_before_the_file_and_that_before_the_suite(written):
    changes = read_changes(
        written('widths = [64]\nhidden_layers = [4, 8]\nmethods = ["bp"]\nrounds = 7\ncase_seconds = 9')
    )
    typed = Overrides(hidden_layers=(16,))
    found = suite_scenarios("quick", typed.over(changes.overrides), cores=2)
    assert {(one.method, one.width, one.hidden_layers) for one in found} == {("bp", 64, 16)}
    assert {one.minibatches for one in found} == {8, 16, 32}, "the suite's own"
    limits = limits_of(SUITES["baselines"], changes, case_seconds=5.0, rounds=None)
    assert (limits.rounds, limits.case_seconds, limits.sweep_seconds) == (7, 5.0, SUITES["baselines"].sweep_seconds)


def test_every_axis_of_a_suite_can_be_changed():
    """A new axis of the command line belongs into the file too."""
    assert set(sweep_file.CHANGE_KEYS) == {field.name for field in dataclasses.fields(Overrides)}


BAD_CHANGES = {
    "widths = [64": "mine.toml is not TOML",
    b"\xff": "mine.toml is not TOML",
    "a = " + "[" * 100_000: "mine.toml is not TOML",
    "widths = [" + "9" * 5000 + "]": "mine.toml is not TOML",
    "widhts = [64]": "mine.toml: unknown key 'widhts': did you mean 'widths'",
    "widths = 64": r"mine.toml: widths is 64: give a list of whole numbers, such as \[2, 8, 32\]",
    'widths = ["64"]': r"widths is \['64'\]: give a list of whole numbers",
    "widths = [6.5]": r"widths is \[6.5\]: give a list",
    "widths = [true]": r"widths is \[True\]: give a list",
    "widths = []": r"widths is \[\]: give a list",
    "widths = [9223372036854775807]": "widths is .*: give a list",
    "widths = [0x" + "f" * 9000 + "]": "widths is too large: give a list",
    "rounds = 1.5": "rounds is 1.5: give a whole number",
    "rounds = 1979-05-27": "rounds is .*: give a whole number",
    'case_seconds = "1 s"': "case_seconds is '1 s': give a number",
    'methods = ["alx"]': "did you mean 'al'",
    'engines = ["fuse"]': "did you mean 'fused'",
    "lanes = [0]": "lanes is 0",
    'contenders = [{ method = "al" }]': "a suite of its own: give `albench run .*mine.toml` without --config",
    "[limits]\nrounds = 3": "unknown key 'limits'",
}


@pytest.mark.parametrize("text", BAD_CHANGES, ids=range(len(BAD_CHANGES)))
def test_bad_changes_are_refused_in_one_line(text, written):
    with pytest.raises(UsageError, match=BAD_CHANGES[text]) as caught:
        read_changes(written(text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


BAD_SUITES = {
    "": "contenders is missing: give a list of tables",
    MINE.replace("minibatches = [4]", ""): "mine.toml, grid 1: minibatches is missing: give a list of whole numbers",
    MINE.replace("seeds", "seed"): "mine.toml, grid 1: unknown key 'seed': did you mean 'seeds'",
    MINE.replace('method = "bp"', 'methode = "bp"'): "grid 1, contenders: unknown key 'methode': did you mean 'method'",
    MINE.replace('{ method = "bp" }', '{ engine = "eager" }'): "contenders: method is missing",
    MINE.replace('{ method = "bp" }', '"bp"'): "contenders is .*: give a list of tables",
    MINE.replace('"cores"', '"all"'): "lanes is 'all': give a whole number, or \"cores\"",
    MINE.replace('"bp"', '"bpp"'): "unknown method 'bpp': did you mean 'bp'",
    MINE.replace('"fused"', '"eager"'): "unknown engine of method 'al' 'eager'",
    MINE.replace("hidden_layers = [2, 4]", "hidden_layers = [3]"): "hidden layers is 3",
    MINE.replace("learning_rate = 0.5", "learning_rate = nan"): "learning rate is nan",
    MINE.replace("bridge_factor = 2", "bridge_factor = 0"): "bridge width is 0",
    MINE.replace("bridge_factor = 2", "bridge_factor = 2000000000"): "bridge width is too large",
    MINE.replace("bridge_factor = 2", 'purpose = "fun"'): 'purpose is \'fun\': give "time", "input" or "accuracy"',
    MINE.replace("bridge_factor = 2", 'network = "cn"'): "unknown network 'cn': did you mean 'cnn'",
    MINE.replace("bridge_factor = 2", 'bridge = "pool"'): 'bridge is \'pool\': give "flat" or "pooled"',
    MINE.replace("bridge_factor = 2", 'bridge = "pooled"'): "network 'mlp' has no feature maps to pool",
    MINE.replace('"synthetic"', '"sythetic"'): "did you mean 'synthetic'",
    MINE.replace("seeds = [0, 1]", f"seeds = {list(range(50_000))}"): "200000 cases is too large",
    MINE.replace("rounds = 5", "rounds = 0"): "rounds is 0",
    MINE.replace("case_seconds = 20", "case_seconds = nan"): "case seconds is nan: give a number above 0",
}


@pytest.mark.parametrize("text", BAD_SUITES, ids=range(len(BAD_SUITES)))
def test_bad_suites_are_refused_in_one_line(text, written):
    with pytest.raises(UsageError, match=BAD_SUITES[text]) as caught:
        scenarios_and_limits(written(text))
    assert "\n" not in str(caught.value)


def scenarios_and_limits(path):
    suite = read_suite(path)
    return suite_scenarios(suite, cores=2), limits_of(suite, Changes())


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(UsageError, match="cannot be read.*give a TOML file"):
            read_changes(path)
    with pytest.raises(UsageError, match="unknown suite 'dept': did you mean 'depth'"):
        suite_of("dept")


def either_way(path):
    """Read a file in both ways: what it says, or one line."""
    for read_it in (read_changes, scenarios_and_limits):
        refusal = ""
        try:
            read_it(path)
        except UsageError as error:
            refusal = str(error)
        assert "\n" not in refusal


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed") / "any.toml"


@FUZZ
@given(content=st.binary(max_size=200))
@example(content=b"\xef\xbb\xbfwidths = [1]")
def test_arbitrary_bytes(fuzzed, content):
    fuzzed.write_bytes(content)
    either_way(fuzzed)


@FUZZ
@given(at=st.integers(0, len(MINE)), text=st.text(max_size=4), cut=st.integers(0, 6))
def test_a_suite_with_a_slip_of_the_pen(fuzzed, at, text, cut):
    fuzzed.write_bytes((MINE[:at] + text + MINE[at + cut :]).encode("utf-8", "surrogatepass"))
    either_way(fuzzed)


STRANGE = st.sampled_from(
    ["nan", "inf", "-1", "0", "1e400", "9" * 30, "0x" + "f" * 5000, "[]", "[[1]]", "{}", '""', '"\\u0000"', "true",
     "07:32:00", "1979-05-27", "[" * 500 + "]" * 500, '[{ method = "al", lanes = 2147483647 }]',
     '[{ method = "1f1b" }]',
     '[{}]', "[2147483647]", "[2]", '["al"]', "3.5"]
)  # fmt: skip


@FUZZ
@given(key=st.sampled_from(sorted(sweep_file.SUITE_KEYS | sweep_file.CHANGE_KEYS)), value=STRANGE)
def test_every_key_with_strange_values(fuzzed, key, value):
    lines = [line for line in MINE.split("[[grid]]")[0].splitlines() if not line.startswith(f"{key} ")]
    fuzzed.write_text("\n".join([*lines, f"{key} = {value}", "widths = [8]" if key != "widths" else ""]))
    either_way(fuzzed)
    fuzzed.write_text(f"{key} = {value}")
    either_way(fuzzed)


def test_the_commands_take_files(written, tmp_path, cases):
    """A sweep of a suite in a file, under the name of the file, with a change from another file and one typed."""
    suite, changes = written(MINE), written("rounds = 1\nseeds = [7]", "changes.toml")

    def albench(*arguments):
        return CliRunner().invoke(cli.app, [*map(str, arguments)])

    assert "10 cases" in albench("list", suite).stdout
    result = albench(
        "run", suite, "--config", changes, "--hidden-layers", "2", "--method", "bp", "--no-progress",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    [record] = read(tmp_path / "out")
    assert (record.suite, record.scenario.seed, record.scenario.hidden_layers) == ("mine.toml", 7, 2)
    bad = albench("run", "quick", "--config", written("widhts = [1]"), "--out", tmp_path / "other")
    assert bad.exit_code == 2
    assert not (tmp_path / "other").exists()


def test_a_users_own_input_cases_are_all_run(written):
    """One case tells the share in a suite of ours; who writes a grid of them means the grid."""
    found = suite_scenarios(
        read_suite(
            written(
                'contenders = [{ method = "bp" }]\nhidden_layers = [2, 4]\nwidths = [8]\nbatch_sizes = [4]\n'
                'minibatches = [2, 5]\npurpose = "input"'
            )
        )
    )
    assert {(one.hidden_layers, one.minibatches, one.purpose) for one in found} == {
        (depth, count, "input") for depth in (2, 4) for count in (2, 5)
    }
