"""Seeding: a random generator for each thing that draws, seeded by what that thing is and by nothing else.

So neither the order in which things draw nor the torch-wide random state decides a number.
"""

from __future__ import annotations

import hashlib

import torch


def seeded_generator(*what: object) -> torch.Generator:
    """Return the generator of `what`, such as a seed and a component's number, on the CPU."""
    digest = hashlib.blake2b("/".join(map(str, what)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
