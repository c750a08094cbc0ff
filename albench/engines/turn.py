"""Turn: one call of an engine at a time.

While ``fit`` runs, foreign code runs too: the source of mini-batches, and other threads. Neither finds an engine that
could be saved, loaded or trained in that moment, and each is told so.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from albench.errors import UsageError

_looking = threading.Lock()
"""Held for the moment of looking whose turn it is; one for all engines, which can so be copied."""


class Turn:
    """Whose turn it is."""

    def __init__(self) -> None:
        self._call = ""

    @contextlib.contextmanager
    def take(self, call: str) -> Iterator[None]:
        """Make a call while inside. Raises `UsageError` while another one is running."""
        with _looking:
            if self._call:
                raise UsageError(f"{call}() while {self._call}() is running: call it when that has returned")
            self._call = call
        try:
            yield
        finally:
            self._call = ""

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        """Let a copy begin with nobody's turn."""
        return type(self), ()
