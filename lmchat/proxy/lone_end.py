"""Tells the end of a thought from talk about it, where a `</think>` stands alone (R-17).

Some templates begin the thought themselves, so that a model only ends it. The tag counts at the start or at
the end of a line, outside of code; a text that also holds `<think>` speaks of both.
"""

from __future__ import annotations

from lmchat.text import Fence, fence_of

LONGEST_BLANK = 4096
"""Blanks behind a tag that are waited through for the end of its line."""
_HEAD = 200
"""What of a line tells whether it opens or closes a fence."""
_TALK = frozenset(" \t,.;:!?)]}'\"`/=|")
"""What no answer begins with that stands right behind the tag, on its line."""


class TextBefore:
    """What stands before a tag; it is only collected until one comes."""

    def __init__(self) -> None:
        self.unread: list[str] = []
        """Text that is no tag, to be put behind what is known."""
        self._head = ""
        self._last = ""
        self._ticks = 0
        self._fence: Fence | None = None

    def ends_here(self, behind: str, *, is_over: bool) -> bool | None:
        """Whether a tag here ends a thought; None where more of what stands behind it must be known."""
        word = behind.lstrip(" \t\r")
        if not word and not is_over and len(behind) < LONGEST_BLANK:
            return None
        self._read()
        if self._fence or self._ticks % 2:
            return False
        if not word or word[0] == "\n":
            return not self._head or not self._last.isspace()
        return not self._head and behind[0] not in _TALK

    def _read(self) -> None:
        first, *others = "".join(self.unread).split("\n")
        self.unread.clear()
        self._grow(first)
        for line in others:
            self._end_line()
            self._grow(line)

    def _grow(self, part: str) -> None:
        self._head += part[: _HEAD - len(self._head)]
        self._last = part[-1:] or self._last
        self._ticks += part.count("`")

    def _end_line(self) -> None:
        line = self._head.strip()
        if self._fence is None:
            self._fence = fence_of(line)
        elif self._fence.is_closed_by(line):
            self._fence = None
        self._head, self._last, self._ticks = "", "", 0
