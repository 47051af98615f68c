"""Mathematics within a line: where they end."""

from __future__ import annotations

import re

BRACKETS = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
"""What begins mathematics, and what ends them."""
_MOST_CHARS = 2_000
_DOLLARS = r"\$(?![\s$])[^$`\n]{1,300}(?<![\s\\])\$(?![A-Za-z0-9_])"
_MOST_DOLLARS = 304


def end_of_math(source: str, start: int, stop: int | None = None) -> int:
    """Return the place behind mathematics that begin at another, before `stop`; 0 where none do."""
    end = BRACKETS.get(source[start : start + 2])
    if end is not None:
        most = min(start + _MOST_CHARS, len(source) if stop is None else stop)
        place = source.find(end, start + 3, most)
        is_link = end == "\\]" and source.startswith("(", place + 2)
        return 0 if place < 0 or is_link else place + 2
    is_apart = not (start and source[start - 1].isalnum())
    found = re.match(_DOLLARS, source[start : start + _MOST_DOLLARS]) if is_apart else None
    return start + found.end() if found and "](" not in found[0] else 0
