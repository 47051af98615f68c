"""The start of a text that is printed for good, while its end may still change.

It is measured in characters without blanks, which are the same in all widths of the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment

from lmchat.markdown.block import Line


def text_size(line: Line) -> int:
    """Return how many characters a line has; blanks and its prefix, as of a list, do not count."""
    return len(re.sub(r"\s", "", _text(line)[line.start :]))


def without_start(lines: Sequence[Line], size: int) -> tuple[list[Line], int]:
    """Return lines without the first `size` characters.

    Return, too, how many characters were not dropped because the lines have fewer: 0 or more. A
    line that loses a part of its text keeps its prefix. Empty lines within the start are dropped.
    """
    for index, line in enumerate(lines):
        if size == 0:
            return list(lines[index:]), 0
        line_size = text_size(line)
        if line_size > size:
            return [_rest(line, size), *lines[index + 1 :]], 0
        size -= line_size
    return [], size


def fitting_start(lines: Sequence[Line], size: int) -> int:
    """Return how many lines at the start have together at most `size` characters.

    Empty lines below the last of them do not count: `without_start`, which counts characters,
    would return them again.
    """
    count = 0
    for index, line in enumerate(lines):
        line_size = text_size(line)
        size -= line_size
        if size < 0:
            break
        if line_size:
            count = index + 1
    return count


def _rest(line: Line, size: int) -> Line:
    """Return a line without the first `size` characters of its text and the blanks around them.

    The prefix of the line stays.
    """
    text = _text(line)
    # `size` characters, each with the blanks before it, then the blanks after the last one
    dropped = re.compile(rf"(?:\s*\S){{{size}}}\s*").match(text, line.start)
    end = dropped.end() if dropped else line.start
    # in cells: where the prefix ends, where the rest begins, and where the line ends
    cuts = [cell_len(text[: line.start]), cell_len(text[:end]), cell_len(text)]
    prefix, _, rest = Segment.divide(line.segments, cuts)
    return Line([*prefix, *rest], start=line.start)


def _text(line: Line) -> str:
    return "".join(segment.text for segment in line.segments)
