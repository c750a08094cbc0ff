"""Compilation: a body that never changes, compiled once and called without looking again.

``torch.compile`` guards what it compiled: on every call it checks that no tensor it saw has changed its shape, type or
place. For a body over buffers and parameters that stay where they are, those checks take longer than many a tick, and
find nothing. So they are left out; whoever asks for a body without them looks at what can change, the mini-batch's
layout.
"""

from __future__ import annotations

import contextlib
import types
import warnings
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import torch

from albench.errors import first_line

P = ParamSpec("P")
R = TypeVar("R")


def without_guards(body: Callable[P, R]) -> Callable[P, R]:
    """Return the function `body`, to be compiled on its first call and taken as it is from then on.

    That call raises whatever the compiler does; `not_compiled` puts it into words.
    """
    # Without guards torch knows compiled code by its code object alone, so every body needs one of its own.
    own = types.FunctionType(body.__code__.replace(), body.__globals__, "body", body.__defaults__, body.__closure__)
    compiled: Callable[P, R] = torch.compile(
        own,
        fullgraph=True,
        dynamic=False,
        options={
            "guard_filter_fn": torch.compiler.skip_all_guards_unsafe,
            # Said outright, so that code which lies on disk for another number of threads is not taken.
            "cpp.threads": torch.get_num_threads(),
        },
    )
    return compiled


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Compile without the compiler's warnings, which are advice for its own developers, or to multiply in TF32.

    `exact_arithmetic` declines the latter on purpose; and where warnings are errors, none is a reason to go uncompiled.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def not_compiled(error: Exception) -> str:
    """Return the note for a body that could not be compiled: a compiler is not part of what albench asks for."""
    line = first_line(error)
    return f"not compiled ({type(error).__name__}{f': {line}' if line else ''})"
