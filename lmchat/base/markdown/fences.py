"""Lines that start and end code blocks with fences (CommonMark 4.5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

# "```python" or "~~~"; "``` a `b`" is inline code
_FENCE = r"(?P<indent> {0,3})(?P<marks>`{3,}(?=[^`]*$)|~{3,})(?P<info>.*)$"
_MARKDOWN = r"(?i)\{?\.?(?:markdown|md)\b"  # its blocks may have fences in them
_CODE_INDENT = 4  # blanks before a line of code, which ends no fence


class Fence(Struct, frozen=True):
    """Opening line of a fenced code block."""

    indent: str  # up to three blanks
    marks: str  # three or more backticks or tildes
    info: str  # its first word is usually the language

    def is_closed_by(self, line: str) -> bool:
        """Whether a line has no fewer marks than the opening line, and nothing else."""
        if indent_of(line) >= _CODE_INDENT:
            return False
        marks = line.rstrip(" \t").lstrip(" ")
        has_only_marks = not marks.strip(self.marks[0])
        return has_only_marks and len(marks) >= len(self.marks)

    @property
    def holds_markdown(self) -> bool:
        return re.match(_MARKDOWN, self.info) is not None

    def depth_behind(self, line: str, depth: int) -> int:
        """Return how many fences within this one are open behind a line; -1 if the line ends it.

        By CommonMark, the first end would do so. But models write ```` ```markdown ```` around
        texts with fences of the same marks: those with a language have ends of their own.
        """
        if self.is_closed_by(line):
            return depth - 1
        inner = opening_fence(line) if self.holds_markdown else None
        return depth + (inner is not None and bool(inner.info) and self.is_closed_by(inner.marks))


def indent_of(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def opening_fence(line: str) -> Fence | None:
    match = re.match(_FENCE, line.rstrip("\n"))
    if match is None:
        return None
    return Fence(match["indent"], match["marks"], match["info"].strip())


def lines_and_fences(text: str) -> Iterator[tuple[str, Fence | None]]:
    """Yield each line with the fence that is open after it, or None.

    A fence ends where CommonMark says: exports are for other readers.
    """
    fence: Fence | None = None
    for line in text.split("\n"):
        if fence is None:
            fence = opening_fence(line)
        elif fence.is_closed_by(line):
            fence = None
        yield line, fence


def unclosed_fence(text: str) -> Fence | None:
    _, fence = list(lines_and_fences(text))[-1]
    return fence
