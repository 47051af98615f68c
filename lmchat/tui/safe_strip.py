"""The filter of rows whose text stays as it was said until it is painted."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip

from lmchat.safe_text import safe_text


def safe_strip(strip: Strip) -> Strip:
    """Return a row as a terminal may get it; each of its characters keeps its cells."""
    if all(safe_text(text) is text for text, _, _ in strip):  # nearly every row
        return strip
    return Strip(
        [Segment(safe_text(text), style, control) for text, style, control in strip],
        strip.cell_length,
    )
