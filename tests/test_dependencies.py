"""What the package imports it names: nothing is there only because another package happens to bring it."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGINS = {"pytest-benchmark"}
"""Used through pytest's hooks and fixtures, never imported."""


def imported(package):
    """Return the top-level names of all modules that a package's files import, wherever in the file."""
    names = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(str(node.module).partition(".")[0])
    return names - set(sys.stdlib_module_names)


def test_every_import_is_a_dependency_and_every_dependency_is_imported():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.split(r"[<>=!~ \[]", line)[0].lower() for line in project["dependencies"]}
    brought_by = packages_distributions()
    needed = {
        name: {found.lower() for found in brought_by.get(name, ())} for name in imported(ROOT / "albench") - {"albench"}
    }
    assert {name: found for name, found in needed.items() if not found & named} == {}
    assert named - set().union(*needed.values()) == PLUGINS
