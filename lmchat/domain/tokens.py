"""Estimates of how many tokens a text is; pure."""

from __future__ import annotations

import re

_WIDE = re.compile("[\u2e80-\U0010ffff]+")
"""CJK, emoji and their like: about a token each."""


def raw_tokens(text: str) -> float:
    """Return 4 characters of ASCII, 2 of other letters, 1 of CJK and emoji each as one token."""
    if text.isascii():
        return len(text) / 4
    ascii_chars = len(text.encode("ascii", "ignore"))
    wide = len(text) - len(_WIDE.sub("", text))
    return ascii_chars / 4 + (len(text) - ascii_chars - wide) / 2 + wide


def corrected(raw: float, factor: float) -> int:
    """Return an estimate as whole tokens; `factor` corrects for one model what its server counted."""
    return max(1, round(raw * factor)) if raw else 0


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    """Estimate the tokens of a text."""
    return corrected(raw_tokens(text), factor)
