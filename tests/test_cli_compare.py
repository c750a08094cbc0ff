"""`albench compare` on real files: mostly in this process, for a start of Python takes longer than a comparison."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from albench.cli import app
from tests.harness.test_run_pair import case, write

pytestmark = pytest.mark.timeout(240)
SIX = [0.1, 0.101, 0.1, 0.099, 0.1002, 0.1]


def albench(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run A, and a run B in which one case is a tenth slower, one is the same, and one failed."""
    folder = tmp_path_factory.mktemp("runs")
    write(folder / "a", [*case(8, SIX), *case(9, SIX), *case(10, SIX)])
    slower = [1.1 * seconds for seconds in SIX]
    other = {"environment": {"cpu": "another"}}
    write(folder / "b", [*case(8, slower, **other), *case(9, SIX, **other), *case(10, ["out of luck"], **other)])
    write(folder / "elsewhere", case(99, SIX))
    (folder / "file").write_text("hello\n")
    return folder


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ([], 0, ""),
        (["--fail-on", "slower:20%,faster,can't-tell"], 0, ""),
        (["--fail-on", "slower:5%", "--fail-on", "failed"], 1, "slower by more than 5 % (1 case): AL fused, ℓ = 4"),
    ],
    ids=str,
)
def test_the_exit_status_is_for_a_continuous_build(runs, tmp_path, options, status, words):
    file = tmp_path / "comparison.md"
    result = albench("compare", runs / "a", runs / "b", "--markdown", file, *options)
    assert result.exit_code == status, result.stderr
    assert "2 cases: 1 slower, 0 faster, 0 can't tell, 1 same." in result.stdout
    assert result.stdout.index("another") < result.stdout.index("verdict"), "what differs around them comes first"
    assert "out of luck" in result.stdout
    assert "slower" in file.read_text()
    assert words in result.stderr
    assert ("failed in B only (1 case)" in result.stderr) == (status == 1)


def test_a_process_of_its_own_ends_with_the_status(runs):
    command = [sys.executable, "-m", "albench", "compare", runs / "a", runs / "b", "--fail-on", "slower:5%"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert "\x1b[" not in result.stdout, "no terminal codes where there is no terminal"


BAD = {
    "nothing in common": (["{a}", "{elsewhere}"], "no timed case in common"),
    "missing": (["{a}", "/nowhere"], "does not exist"),
    "foreign": (["{file}", "{a}"], "not a record of albench"),
    "condition": (["{a}", "{b}", "--fail-on", "slower:5"], "give a percentage, such as 5%"),
    "noise": (["{a}", "{b}", "--noise", "much"], "--noise is 'much'"),
    "noise over the condition": (["{a}", "{b}", "--noise", "8%", "--fail-on", "slower:5%"], "give --noise 5% as well"),
    "markdown": (["{a}", "{b}", "--markdown", "/proc/c.md"], "/proc/c.md cannot be written"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_line_and_status_2(runs, name):
    arguments, words = BAD[name]
    names = {folder.name: folder for folder in runs.iterdir()}
    result = albench("compare", *[argument.format(**names) for argument in arguments])
    assert result.exit_code == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("albench: ")
    assert words in line
    assert result.stdout == ""
