"""Kept state: whether what somebody wants to go on from is the state of this method and of this network."""

from __future__ import annotations

from typing import Any

from torch import nn

from albench.engines.state import weights_fit
from albench.errors import UsageError


def refuse_unfit(state: Any, network: nn.Module, *, method: str, version: int, fields: set[str]) -> None:
    """Raise `UsageError` unless `state` is of the method and has the weights of the network and these fields too.

    A state that is loaded by half is worse than none.
    """
    if not isinstance(state, dict) or state.get("format") != f"albench-{method}":
        raise UsageError(f"the state is not one of method {method!r}: give what its state_dict() returned")
    if state.get("version") != version:
        raise UsageError(f"the state has version {state.get('version')}, this albench reads version {version}")
    if not isinstance(state.get("minibatches"), int) or not {"weights", "optimizer", *fields} <= state.keys():
        raise UsageError("the state is not whole: give what state_dict() returned, unchanged")
    if not weights_fit(state["weights"], network):
        raise UsageError("the state has other parameters or shapes than the network's: build it as it was saved")
