"""Cells of characters that terminals disagree about, and cuts that lose no cell.

Terminals differ about joined emoji, flags, variation selectors (⚠️, 1️⃣) and many scripts: tmux
3.3a gives ⚠️ one cell, rich counts two (https://github.com/tmux/tmux/issues/3923). So after each
such ("unsure") character, the cursor is moved to where rich expects it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache, lru_cache

from rich.cells import cell_len
from rich.segment import Segment

from lmchat.app.cells import graphemes, split_at_cell

# start and end of ranges of one width everywhere: no marks, joiners or emoji
_SURE_RANGES = (
    *(0x00, 0x300, 0x370, 0x590, 0x2010, 0x2028, 0x2030, 0x205F, 0x2190, 0x2427),
    *(0x2500, 0x2630, 0x2638, 0x268A, 0x2690, 0x27C0),
    *(0x3000, 0x302A, 0x3030, 0x3248, 0x3250, 0xA000, 0xAC00, 0xD7A4, 0xFF00, 0xFFF0),
)
_FIRST_SYMBOL = 0x2010  # words of lower code points are placed as a whole, in fewer bytes
_SEQUENCE = (
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes
    r"|\][^\x07\x1b]*"  # OSC: titles, links and clipboard texts, not drawn
    r"|[PX^_](?:[^\x1b]|\x1b\x1b)*"  # DCS, SOS, PM, APC: images, and what tmux passes on
    r"|[ -/]*[0-~])"
)
_SAVE = "\x1b7"  # the position of the cursor
_RESTORE = "\x1b8"
_CACHED_CUTS = 16 * 1024  # of segments


def with_sure_widths(text: str) -> str:
    """Set the cursor after each unsure character; blanks erase what was there."""
    return text if _has_sure_width(text) else _unsure_runs().sub(_with_cursor_set, text)


def _has_sure_width(text: str) -> bool:
    """Whether terminals agree about the width of a text.

    `_SURE_RANGES` has starts and ends in turn: an odd number is at or below a sure character.
    """
    return text.isascii() or all(bisect_right(_SURE_RANGES, ord(char)) % 2 for char in set(text))


@cache
def _unsure_runs() -> re.Pattern[str]:
    r"""Match a control sequence, or unsure characters, each with the sure one before it.

    That may be its base, as the letter before a combining mark, and a terminal draws both in one
    cell. In `a\x1b[1mb🌱`, the matches are the sequence and `b🌱`. At each place, at most one part
    of the pattern can match, so the time is linear.
    """
    ranges = zip(_SURE_RANGES[::2], _SURE_RANGES[1::2], strict=True)
    sure = "".join(f"{re.escape(chr(start))}-{chr(end - 1)}" for start, end in ranges)
    base = rf"(?![\x00-\x20])[{sure}]"  # neither a blank nor a control character
    unsure = rf"\u200d[^\x00-\x20]?|[^{sure}\u200d]"  # a joiner and what it joins, or any other
    return re.compile(rf"(?P<sequence>{_SEQUENCE})|(?:(?:{base})?(?:{unsure}))+")


def _with_cursor_set(match: re.Match[str]) -> str:
    run = match[0]
    if match["sequence"]:
        return run
    # terminals draw letters of a word side by side; symbols are placed one by one
    if all(ord(char) < _FIRST_SYMBOL for char in run):
        return _with_cursor_behind(run)
    parts = [run[start:end] for start, end, _ in graphemes(run)]
    return "".join(part if _has_sure_width(part) else _with_cursor_behind(part) for part in parts)


def _with_cursor_behind(group: str) -> str:
    """Draw text over as many blanks as rich counts cells; put the cursor behind these.

    The text may get fewer cells. The position is saved twice: a terminal may drop it when it
    restores it, as pyte does in the tests.
    """
    cells = cell_len(group)
    forward = f"\x1b[{cells}C" if cells else ""  # terminals take 0 for 1
    return f"{_SAVE}{' ' * cells}{_RESTORE}{_SAVE}{group}{_RESTORE}{forward}"


def patch_cuts() -> None:
    """Let Textual and rich cut rows with `split_at_cell`.

    `Segment.split_cells` of rich 15.0.0 cuts flags and marks apart; within ✔️ the row loses a cell.
    Its private part `_split_cells`, which cuts all but plain text, is replaced.
    """
    setattr(Segment, "_split_cells", staticmethod(_cut_segment))  # noqa: B010 - for mypy


@lru_cache(_CACHED_CUTS)
def _cut_segment(segment: Segment, cell: int) -> tuple[Segment, Segment]:
    """Most segments are cut again with the next frame."""
    text, style, control = segment
    before, behind = split_at_cell(text, cell)
    return Segment(before, style, control), Segment(behind, style, control)
