"""Schema: what a record is, as JSON Schema, for programs that are not this one.

The schema is made from the code and kept as a file in the package, so that it can be read and linked to; a test holds
the two together. ``python -m albench.harness.schema`` writes it anew after a field was added.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from albench.harness.records import VERSION, Record
from albench.harness.scenario import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE_NAME = f"record-v{VERSION}.json"


def published() -> str:
    """Return the schema as the package's file has it."""
    return (resources.files("albench.harness") / "schemas" / FILE_NAME).read_text(encoding="utf-8")


def generated() -> str:
    """Return the schema as the code has it: the types of the fields, and what their docstrings say."""
    schema: dict[str, Any] = msgspec.json.schema(Record)
    for owner in (Record, Scenario):
        properties = schema["$defs"][owner.__name__]["properties"]
        for name, words in _field_docstrings(owner).items():
            properties[name] = {"description": words} | properties[name]
    title = f"One line of a records.jsonl of albench, version {VERSION}"
    return json.dumps({"$schema": DIALECT, "title": title} | schema, indent=2, ensure_ascii=False) + "\n"


def _field_docstrings(owner: type) -> dict[str, str]:
    """Return the docstring below each field of a class, on one line."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found


if __name__ == "__main__":
    file = Path(__file__).parent / "schemas" / FILE_NAME
    file.parent.mkdir(exist_ok=True)
    file.write_text(generated(), encoding="utf-8")
