"""Estimates of numbers of tokens, by characters alone.

The factor of a model is how many tokens its server counts for an estimated one.
"""

from __future__ import annotations

import re

TEMPLATE_TOKENS = 4  # that a chat template adds to a message, about
_CUT_SHARE = 0.6
"""A server that counts a smaller share of the estimate has left out a part."""
_CUT_TOKENS = 1000  # smaller estimates are too rough
_FULL_SHARE = 0.98
"""A prompt that fills this share of the window has no room for an answer, and was cut."""
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


def is_prompt_cut(
    counted: int, *, estimate: float, window: int | None, reserve: int = 0, has_images: bool = False
) -> bool:
    """Whether a server seems to have left out a part of a prompt, as Ollama does silently.

    `reserve` is the room for the answer. The tokens of images are not known.
    """
    if window is not None:
        # A prompt that leaves the planned room for the answer is as planned. A server that counts
        # more than its window has read all: the window is larger than it says.
        most_uncut = max(_FULL_SHARE * window, window - reserve)
        if most_uncut < counted <= window:
            return True
    return not has_images and estimate >= _CUT_TOKENS and counted < _CUT_SHARE * estimate
