"""Surroundings: what two runs were made on, field by field, where they are not alike.

Two times differ for the reason that is looked for only if nothing else does. So before any ratio, everything else that
differs is named: another machine, another torch, other threads, another commit. And where one run was put together
from records of several surroundings, that is named too, for its median then stands for none of them. Between two
machines no change can be claimed at all (`machines`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TELLING = (
    "cpu",
    "usable_cores",
    "cpu_governors",
    "memory_bytes",
    "platform",
    "python",
    "packages",
    "commit",
    "variables",
    "gpus",
)
"""Facts of an environment that a time depends on. What is measured anew for each sweep, such as the load, is not among
them: it always differs."""
BYTES = "_bytes"
ABSENT = "–"
"""What stands where a run does not have the field."""

Facts = Mapping[str, Any]
"""An environment, as plain data: values may be mappings or lists in turn."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field that is not the same in both runs, or within one of them."""

    field: str
    """Its name, the levels of nested ones joined with a dot, such as "packages.torch"."""
    before: tuple[str, ...]
    """Every value that run A has, in the order met."""
    after: tuple[str, ...]
    """Every value that run B has."""

    @property
    def mixed(self) -> tuple[str, ...]:
        """The runs, of "A" and "B", that hold more than one value themselves."""
        return tuple(name for name, values in (("A", self.before), ("B", self.after)) if len(values) > 1)


def differences(before: Iterable[Facts], after: Iterable[Facts]) -> list[Difference]:
    """Return the fields in which the environments of two runs' records are not all alike."""
    first, second = _distinct(before), _distinct(after)
    fields = list(dict.fromkeys(name for facts in (*first, *second) for name in facts))
    fields.sort(key=lambda name: TELLING.index(name.split(".")[0]))
    found = [Difference(field=name, before=_values(first, name), after=_values(second, name)) for name in fields]
    return [one for one in found if len(set(one.before) | set(one.after)) > 1]


def machines(environments: Iterable[Facts]) -> tuple[str, ...]:
    """Return each machine once, in the order met: its processor, its usable cores and the names of its GPUs.

    Another driver or another size of memory is a difference of one machine; another one of these is another machine.
    """
    return tuple(dict.fromkeys(_machine(facts) for facts in environments))


def _machine(facts: Facts) -> str:
    found, cores = facts.get("gpus"), facts.get("usable_cores")
    gpus = [gpu.get("name") for gpu in found if isinstance(gpu, Mapping)] if isinstance(found, list | tuple) else []
    return ", ".join(
        [
            str(facts.get("cpu") or "unknown processor"),
            *([f"{cores} core{'' if cores == 1 else 's'}"] if cores else []),
            *[str(name or "unknown GPU") for name in gpus],
        ]
    )


def _distinct(environments: Iterable[Facts]) -> list[dict[str, str]]:
    """Return each environment once, flat: most records of a run share one."""
    flat: dict[str, dict[str, str]] = {}
    for facts in environments:
        telling = {name: facts[name] for name in TELLING if name in facts}
        flat.setdefault(json.dumps(telling, sort_keys=True, default=str), _flat(telling))
    return list(flat.values())


def _flat(facts: Facts, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = _text(value, name)
    return found


def _text(value: Any, name: str = "") -> str:
    """Return a value in words: a list of mappings (GPUs) as its members' values, and bytes as GiB.

    Sizes of memory that are equal to four digits are the same size: another kernel keeps a little more for itself.
    """
    if isinstance(value, list):
        return "; ".join(_text(part) for part in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{shown_name(key)} {_text(part, key)}" for key, part in value.items())
    if name.endswith(BYTES) and isinstance(value, int):
        return f"{value / 2**30:.4g} GiB"
    return str(value) if value != "" else ABSENT


def shown_name(name: str) -> str:
    """Return a field's name as a person reads it: its unit stands with the value."""
    return name.removesuffix(BYTES)


def _values(environments: list[dict[str, str]], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(facts.get(name, ABSENT) for facts in environments))
