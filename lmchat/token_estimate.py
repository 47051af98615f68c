"""Estimates of numbers of tokens, by characters alone.

The factor of a model corrects an estimate. It is how many tokens its server has counted for each
one that was estimated.
"""

from __future__ import annotations

import re

_WIDE = "[^\0-\u2e7f]"  # CJK and emoji, such as 字
_ASCII = bytes(range(128))


def raw_tokens(text: str) -> float:
    """Estimate the tokens of a text from its characters, without the factor of a model.

    One token is made of 4 ASCII characters, of 2 other letters, or of 1 CJK character or emoji.
    """
    if text.isascii():
        return len(text) / 4
    # ASCII characters are removed as bytes: a loop over the characters would be slow. A text may
    # have lone surrogates, which are encoded only with `surrogatepass`.
    encoded = text.encode(errors="surrogatepass")
    not_ascii = encoded.translate(None, _ASCII).decode(errors="surrogatepass")
    ascii_count = len(text) - len(not_ascii)
    wide_count = len(re.findall(_WIDE, not_ascii))
    letter_count = len(not_ascii) - wide_count
    return ascii_count / 4 + letter_count / 2 + wide_count


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    """Estimate the tokens of a text; the factor 1 corrects nothing."""
    return max(1, round(raw_tokens(text) * factor)) if text else 0
