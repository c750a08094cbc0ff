"""A script in a fork of the tests' forkserver: it has torch already, which a fresh interpreter imports for seconds."""

import os
import runpy
import signal
import sys
import time

from albench.process import child_environment, forkserver, nameless_main, server_address, use_server

EXIT_SECONDS = 1.0
"""How long a rank takes to end, as an interpreter does: a fork ends at once, and rank 0, who holds the store, would
take with it what the others have not read yet."""
COMMAND = "from albench.cli import main\nmain()\n"
"""The command line, as a script."""


class ForkedScript:
    """A script that runs as the main module of a fork; in so far as it is used here, a ``subprocess.Popen``.

    Processes that it makes are forks of the same forkserver and know it as their parent. What it prints goes to files
    beside it. `variables` are set in its environment; one with a RANK is a rank that a launcher started.
    """

    def __init__(self, script, *arguments, **variables):
        names = [f"{script.name}.{variables.get('RANK', '')}{name}" for name in ("out", "err")]
        self._files = [script.with_name(name) for name in names]
        told = (str(script), [str(one) for one in arguments], variables, [str(file) for file in self._files])
        self._process = forkserver().Process(target=_run, args=(*told, server_address()))
        with nameless_main(), child_environment():
            self._process.start()
        self.pid, self.kill, self.wait = self._process.pid, self._process.kill, self._process.join

    def poll(self):
        return self._process.exitcode

    returncode = property(poll)

    def communicate(self, timeout=10.0):
        self._process.join(timeout)
        assert self.returncode is not None, f"not done within {timeout} s"
        return [file.read_text() if file.exists() else "" for file in self._files]


def _run(script, arguments, variables, files, server):
    for descriptor, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the suite runs in the background
    use_server(server)
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        if "RANK" in variables:
            time.sleep(EXIT_SECONDS)
