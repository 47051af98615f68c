"""The beginning and the end of a text that takes too long to lay out as a whole.

The rest is the source of one row (`gap_block`), so that it is found and copied, too.
"""

from __future__ import annotations

import re

from msgspec import Struct

from lmchat.app.markdown_lines.block import HEAD_LINES

MOST_COST = 5_000  # of a text that is shown as a whole; see `layout_cost`
_END_COST = 1_000  # of the beginning, and of the end, of any other
EXCERPT_ROWS = 2 * _END_COST  # that are shown of such a text, about
_BYTES_PER_LINE = 100
_MARKS_PER_LINE = 4
_MARKS = "*_`[<$&~|>:/"  # that the Markdown parser stops at
_MARKS_OF_WWW = 3  # an address without `://` takes as long as one with these
_HEAD_CHARS = 2_000  # a longer head of a table is not repeated
# where the end may start, the best first: behind a blank line, at a line without indent, at any
# line, at a word
_STARTS = (r"\n\n(?=\S)", r"\n(?=\S)", r"\n", r" ")
_FENCE_LINE = r"(?m)^ {0,3}(`{3,}(?=[^`\n]*$)|~{3,})(.*)$"
_DASHES = "|:- \t\r"  # of the line below the head of a table


class Excerpt(Struct, frozen=True):
    """A text in three parts; the middle one is not shown."""

    beginning: str
    middle: str
    end: str
    # what the end continues: the opening of a fence, or the head of a table
    context: str


def layout_cost(text: str) -> int:
    """Estimate the work to show a text, in lines: long lines and marks count as more."""
    lines = text.count("\n") - text.count("\n\n")  # blank lines take no time
    size = len(text) if text.isascii() else len(text.encode(errors="replace"))
    marks = sum(map(text.count, _MARKS)) + _MARKS_OF_WWW * text.count("www.")
    return lines + size // _BYTES_PER_LINE + marks // _MARKS_PER_LINE


def is_long(text: str) -> bool:
    # cheap for short texts: each byte adds less than one line
    return len(text) > MOST_COST and layout_cost(text) > MOST_COST


def excerpt_of(text: str) -> Excerpt:
    """Cut a long text into the parts that are shown and the rest."""
    size = _END_COST * _BYTES_PER_LINE
    beginning = text[:size]
    while layout_cost(beginning) > _END_COST:
        beginning = beginning[: len(beginning) * 3 // 4]
    end_lines = beginning.rfind("\n") + 1
    if end_lines > len(beginning) // 2:
        beginning = beginning[:end_lines]

    end = text[-size:]
    while layout_cost(end) > _END_COST:
        end = end[len(end) // 4 :]
    starts = (re.compile(pattern).search(end, 0, len(end) // 2) for pattern in _STARTS)
    start = next((found.end() for found in starts if found), 0)
    end = end[start:]

    middle = text[len(beginning) : len(text) - len(end)]
    return Excerpt(beginning, middle, end, _context_of(text[: len(text) - len(end)]))


def _context_of(text: str) -> str:
    """Return the opening of the fence that is open at the end, or a table's head."""
    opening = ("", "")
    for marks, info in re.findall(_FENCE_LINE, text):
        if not opening[0]:
            opening = (marks, info)
        elif marks.startswith(opening[0]) and not info.strip():
            opening = ("", "")
    if opening[0]:
        return "".join(opening) + "\n"
    start = text.rfind("\n\n") + 1
    lines = text[start : start + _HEAD_CHARS].lstrip("\n").split("\n")
    if len(lines) <= HEAD_LINES or "|" not in lines[0]:
        return ""
    has_dashes = "-" in lines[1] and not lines[1].strip(_DASHES)
    return "".join(line + "\n" for line in lines[:HEAD_LINES]) if has_dashes else ""
