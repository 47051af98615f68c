"""Estimates of how many tokens a text is; pure."""

from __future__ import annotations

import re

_WIDE = "[^\0-\u2e7f]+"
"""CJK, emoji and their like, from U+2E80 on: about a token each. Compiled when text of them comes."""
_ASCII = bytes(range(128))


def raw_tokens(text: str) -> float:
    """Return 4 characters of ASCII, 2 of other letters, 1 of CJK and emoji each as one token."""
    if text.isascii():
        return len(text) / 4
    rest = text.encode(errors="surrogatepass").translate(None, _ASCII).decode(errors="surrogatepass")
    wide = len(rest) - len(re.sub(_WIDE, "", rest))
    return (len(text) - len(rest)) / 4 + (len(rest) - wide) / 2 + wide


def corrected(raw: float, factor: float) -> int:
    """Return an estimate as whole tokens; `factor` corrects for one model what its server counted."""
    return max(1, round(raw * factor)) if raw else 0


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    """Estimate the tokens of a text."""
    return corrected(raw_tokens(text), factor)
