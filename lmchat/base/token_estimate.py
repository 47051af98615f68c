"""Estimates of numbers of tokens, by characters alone.

The factor of a model is how many tokens its server counts for an estimated one.
"""

from __future__ import annotations

import re
from functools import lru_cache

TEMPLATE_TOKENS = 4  # that a chat template adds to a message, about
_PIECE = re.compile(rb"[A-Za-z]{1,6}|[0-9]{1,2}|[!-/:-@\[-^`{-~]{1,32}|\s{2,}|_")  # of ASCII
_WIDE = "[^\0-\u2e7f]"  # CJK and emoji, such as 字
_ASCII = bytes(range(128))


@lru_cache(maxsize=2_000)  # 0.1 s a megabyte; the end of a session is estimated again and again
def raw_tokens(text: str) -> float:
    """Count pieces of ASCII, 2 other letters, or 1 CJK character or emoji a token."""
    # as bytes, since a loop over characters is slow; lone surrogates need `surrogatepass`
    encoded = text.encode(errors="surrogatepass")
    not_ascii = encoded.translate(None, _ASCII).decode(errors="surrogatepass")
    wide_count = len(re.findall(_WIDE, not_ascii))
    letter_count = len(not_ascii) - wide_count
    piece_count = _PIECE.subn(b"", encoded)[1]
    return piece_count + letter_count / 2 + wide_count


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    return max(1, round(raw_tokens(text) * factor)) if text else 0
