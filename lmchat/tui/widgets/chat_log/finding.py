"""Find in the messages of a log."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from lmchat.domain.message_path import MessagePath
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.line import Line

Range = tuple[int, int]
"""First character, and the one behind the last."""


class Finder:
    """Counts hits in what was said, and finds the line of each when it is asked for."""

    def __init__(self) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._needles: tuple[str, ...] = ()
        self._hits: list[int] = []
        self._current = -1
        self.place: Place | None = None
        """Where the current hit begins."""

    @property
    def is_active(self) -> bool:
        """Whether there is something to find."""
        return self._pattern is not None

    def clear(self) -> None:
        """Find nothing any more."""
        self.__init__()  # type: ignore[misc]

    def find(self, document: Document, *words: str, first: int) -> int:
        """Return how many hits there are; the next one is that of the message `first` or after it."""
        self.clear()
        self._needles = _apart(words)
        if not self._needles:
            return 0
        self._pattern = re.compile("|".join(map(re.escape, self._needles)), re.IGNORECASE)
        self._hits = self._found(document.entries.sources())
        self._current = bisect_left(self._hits, first) - 1
        return len(self._hits)

    def has_hit(self, index: int) -> bool:
        """Whether a message holds what is to be found."""
        place = bisect_left(self._hits, index)
        return place < len(self._hits) and self._hits[place] == index

    def prepend(self, earlier: MessagePath) -> None:
        """Count the hits of messages that were put before all others."""
        if not self.is_active:
            return
        hits, count = self._found(message.text for message in earlier), len(earlier)
        self._hits = hits + [index + count for index in self._hits]
        self._current += len(hits)
        if self.place is not None:
            self.place = self.place[0] + count, *self.place[1:]

    def _found(self, texts: Iterable[str]) -> list[int]:
        """Return the places of texts with hits in them, once for each hit."""
        counts = (self._count(text) for text in texts)
        return [index for index, count in enumerate(counts) for _ in range(count)]

    def _count(self, text: str) -> int:
        lower = text.lower()
        return sum(lower.count(needle) for needle in self._needles)

    @property
    def standing(self) -> tuple[int, int]:
        """The number of the hit that is shown, 0 for none, and how many there are."""
        return self._current + 1 if self.place else 0, len(self._hits)

    def step(self, document: Document, step: int) -> tuple[int, int]:
        """Go to the next or previous hit; return its number and how many there are."""
        if not self._hits:
            return 0, 0
        self._current = (self._current + step) % len(self._hits)
        index = self._hits[self._current]
        self.place = self._locate(document, index, self._current - bisect_left(self._hits, index))
        return self._current + 1, len(self._hits)

    def _locate(self, document: Document, index: int, number: int) -> Place:
        """Return where the n-th hit of a message is shown, or its beginning where it is not shown at all."""
        best: Place = (index, 0, 0)
        for block in range(document.build(index)):
            source = document.entries[index].blocks[block].source
            count = self._count(source)
            if number >= count:
                number -= count
                continue
            height = document.prepare(index, block)
            best = (index, block, 0)
            lines = document.entries[index].blocks[block].lines or []
            rows = [row for row in range(len(lines)) for _ in self._starts(lines, row)]
            if rows:
                return index, block, rows[min(number, len(rows) - 1)] + height - len(lines)
            return best
        return best

    def ranges(self, lines: list[Line], row: int) -> list[Range]:
        """Return what is to be marked in a line; a hit may go over its end."""
        return [(start, end) for start, end, _ in self._ranges(lines, row)]

    def _starts(self, lines: list[Line], row: int) -> Iterator[int]:
        for start, _, is_start in self._ranges(lines, row):
            if is_start:
                yield start

    def _ranges(self, lines: list[Line], row: int) -> Iterator[tuple[int, int, bool]]:
        if self._pattern is None:
            return
        first, last = row, row
        while first > 0 and lines[first - 1].is_wrapped:
            first -= 1
        while last < len(lines) - 1 and lines[last].is_wrapped:
            last += 1
        before = sum(len(line.text) for line in lines[first:row])
        text = "".join(line.text for line in lines[first : last + 1])
        length = len(lines[row].text)
        for match in self._pattern.finditer(text):
            start, end = match.start() - before, match.end() - before
            if end > 0 and start < length:
                yield max(start, 0), min(end, length), start >= 0


def _apart(words: Iterable[str]) -> tuple[str, ...]:
    """Return words, the longest first, without those that stand in others: they would be counted twice."""
    found: list[str] = []
    for word in sorted({word.lower() for word in words if word}, key=len, reverse=True):
        if not any(word in longer for longer in found):
            found.append(word)
    return tuple(found)
