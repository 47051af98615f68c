"""Estimates of numbers of tokens, by characters alone.

The factor of a model is how many tokens its server counts for an estimated one.
"""

from __future__ import annotations

import re

TEMPLATE_TOKENS = 4  # that a chat template adds to a message, about
_WIDE = "[^\0-\u2e7f]"  # CJK and emoji, such as 字
_ASCII = bytes(range(128))


def raw_tokens(text: str) -> float:
    """Count 4 ASCII characters, 2 other letters, or 1 CJK character or emoji a token."""
    if text.isascii():
        return len(text) / 4
    # as bytes, since a loop over characters is slow; lone surrogates need `surrogatepass`
    encoded = text.encode(errors="surrogatepass")
    not_ascii = encoded.translate(None, _ASCII).decode(errors="surrogatepass")
    ascii_count = len(text) - len(not_ascii)
    wide_count = len(re.findall(_WIDE, not_ascii))
    letter_count = len(not_ascii) - wide_count
    return ascii_count / 4 + letter_count / 2 + wide_count


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    return max(1, round(raw_tokens(text) * factor)) if text else 0
