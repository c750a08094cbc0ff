"""Templating: what all pages share: the style sheet, the one script, and the policy that lets nothing else.

A page makes no request to anywhere: its own content policy forbids it, and allows of all scripts the one that sorts
tables, by its hash. Without that script, in print or in a reader that runs none, a page is complete.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def rendered(template: str, **values: Any) -> str:
    """Return a page made from one of the templates; every value is escaped, and one that is missing is an error."""
    script = _text("sort.js")
    return (
        _environment()
        .get_template(template)
        .render(
            # Our own files: the only texts that are not escaped.
            css=Markup(_text("page.css")),
            script=Markup(script),
            policy=Markup(_policy(script)),
            **values,
        )
    )


def _policy(script: str) -> str:
    """Return the content policy of a page with this script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    """Return the templates; a name that is missing in one is an error, never an empty place on the page."""
    return Environment(
        loader=PackageLoader("albench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _text(name: str) -> str:
    """Return one of the files beside the templates."""
    return (resources.files("albench.report") / "templates" / name).read_text(encoding="utf-8")
