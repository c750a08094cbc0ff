"""An answer: what the first screen of a report says about one question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "part", "bad", "open"]
"""How an answer is coloured; the word beside the colour says the same."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer for one regime: a word, and the sentences behind it."""

    title: str
    place: str
    """Where it holds, as the end of a sentence: "where launches rule"."""
    word: str
    """The answer, with the engine or size that it rests on."""
    short: str
    """The same in as few words as go into a headline."""
    tone: Tone
    caveat: str
    """What takes the shine off a good answer; empty where nothing does."""
    sentences: tuple[str, ...]
