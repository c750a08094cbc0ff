"""Networks of classes that the caller's own script defines: children import it, or one line says what is wrong.

What is refused runs in forks; what runs, and what no file holds, in interpreters.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked_script import ForkedScript

pytestmark = pytest.mark.timeout(120)

DEFINITIONS = """
from albench.engines import make_engine
from tests.engines.made_up import batches
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
class Own(LocallySupervised):
    pass
"""
TRAINING = """
print("once")
with make_engine("ranks", LocalNetwork(Own), lanes=2) as engine:
    engine.fit(batches(3))
print(engine.minibatches_seen)
"""
GUARDED = DEFINITIONS + "if __name__ == '__main__':\n" + TRAINING.replace("\n", "\n    ")
GUARD_ELSEWHERE = DEFINITIONS + TRAINING + "if __name__ == '__main__':\n    print('done')\n"


def run(*command, text=None):
    own = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *command]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=100, check=False, env=own)


def script(tmp_path, text):
    path = tmp_path / "own.py"
    path.write_text(text)
    return str(path)


def refused(tmp_path, text):
    """Run a script that dies; return what it printed, and what it died of."""
    process = ForkedScript(Path(script(tmp_path, text)))
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    return out, last_line(errors)


def last_line(errors):
    """Return what a script died of, having made sure that nothing but its one traceback was said."""
    assert errors.count("Traceback") == 1
    return errors.splitlines()[-1]


def test_a_guarded_script_runs_once(tmp_path):
    done = run(script(tmp_path, GUARDED))
    assert (done.returncode, done.stdout) == (0, "once\n3\n"), done.stderr


def test_a_script_without_a_guard_is_refused_before_it_runs_again(tmp_path):
    out, error = refused(tmp_path, DEFINITIONS + TRAINING)
    assert "UsageError: the network's classes are defined in a script that makes an engine" in error
    assert out == "once\n"


def test_a_guard_that_does_not_keep_children_out_is_noticed(tmp_path):
    """The child reaches the making of the engine, and that is what the caller learns: no essay, and no exit status."""
    _, error = refused(tmp_path, GUARD_ELSEWHERE)
    assert "UsageError: rank 1: the network's classes are defined in a script that makes an engine" in error


def test_classes_that_the_guard_hides_are_refused(tmp_path):
    """Imported, the script does not define them."""
    hidden = "if __name__ == '__main__':\n    " + (DEFINITIONS + TRAINING).replace("\n", "\n    ")
    _, error = refused(tmp_path, hidden)
    assert "UsageError: rank 1: the network cannot be read in another process (Can't get attribute 'Own'" in error


def test_classes_of_standard_input_are_refused():
    """As those after ``-c`` and in a notebook are: there is no file that children could import."""
    done = run("-", text=GUARDED)
    assert done.returncode == 1
    assert "UsageError: the network's classes are defined on standard input" in last_line(done.stderr)
