"""Find words in all messages of the log, and go from one hit to the next.

A hit is the n-th occurrence of the words in the source of a message. In laid out blocks, all
occurrences in the shown text are marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from lmchat.app.cells import graphemes, joins, starts_grapheme
from lmchat.app.markdown_lines.block import Block, Line
from lmchat.app.tui.chat_log.anchor import row_starts, unwrapped_text
from lmchat.app.tui.chat_log.document import Document, LogPosition
from lmchat.app.tui.chat_log.viewport import Viewport
from lmchat.base.matching import folded, non_ascii
from lmchat.base.safe_text import without_controls
from lmchat.core.sessions.message import ReasoningPart

MAX_CHARS = 1_000  # of pasted words; the rest is not searched

_INSIDE = "\uffff"  # Unicode assigns it to no character
Range = tuple[int, int]  # first character, and the one after the last


class Query:
    """Search for any of some words; without words it finds nothing."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        cut_words = {
            re.sub(r"\s+", " ", folded(without_controls(word[:MAX_CHARS]))) for word in words
        }
        # of words that start alike, the longest first
        self.needles = sorted(filter(None, cut_words), key=len, reverse=True)
        self._ends = {char for needle in self.needles for char in (needle[0], needle[-1])}
        self._one_word = [needle for needle in self.needles[:1] if " " not in needle]
        patterns = []
        for needle in self.needles:
            # a run of blanks matches from its first only: linear time
            start = r"(?<!\s)" if needle.startswith(" ") else ""
            patterns.append(start + r"\s+".join(map(re.escape, needle.split(" "))))
        self._pattern = re.compile("|".join(patterns))

    def count(self, text: str) -> int:
        if not self.needles:
            return 0
        letters = folded(text)
        # as `…`, which becomes three dots, of which a hit may have a part
        expanded = [
            char
            for char in non_ascii(text)
            if len(parts := folded(char)) > 1 and not self._ends.isdisjoint(parts)
        ]
        if not expanded and not any(map(joins, non_ascii(letters))):
            if self.needles == self._one_word:  # ten times as fast as a pattern
                return letters.count(self.needles[0])
            return sum(1 for _ in self._pattern.finditer(letters))
        shape = text  # whose folded form tells where a hit would start or end within a character
        for char in expanded:
            shape = shape.replace(char, " " + _INSIDE * (len(folded(char)) - 1))
        shape = folded(shape) if expanded else ""
        # slices: the end of the text is the end of a hit, too
        return sum(
            _INSIDE not in (shape[start : start + 1], shape[end : end + 1])
            and starts_grapheme(letters, start)
            and starts_grapheme(letters, end)
            for start, end in (hit.span() for hit in self._pattern.finditer(letters))
        )

    def spans(self, text: str) -> Iterator[Range]:
        """Yield the range of each hit.

        None starts or ends within a drawn character: the letter `하` is not found in `한`.
        """
        if not self.needles:
            return
        if text.isascii():
            yield from (match.span() for match in self._pattern.finditer(text.lower()))
            return
        letters = ""  # folded text, which may have another length
        positions = {0: 0}  # from the folded text to `text`
        for start, end, _ in graphemes(text):
            letters += folded(text[start:end])
            positions[len(letters)] = end
        for match in self._pattern.finditer(letters):
            if match.start() in positions and match.end() in positions:
                yield positions[match.start()], positions[match.end()]


class Mark(NamedTuple):
    """Characters of a row to be marked."""

    start: int
    end: int
    nth: int  # in its block, from 0


class Finder:
    """Search in all messages, which brings one hit after the other into view.

    The hits of a streaming answer are counted when a search starts, and when the answer ends. What
    the log adds (stats, states, cards) is not searched.
    """

    def __init__(self, viewport: Viewport, on_change: Callable[[], None]) -> None:
        """`on_change` is called when marks or counts may have changed."""
        self.last_words: tuple[str, ...] = ()  # of the last search, for `n` without the bar
        self.index: int | None = None  # message of the current hit
        self._nth = 0  # of the current hit in its message, from 0
        self._current_in_block = (0, 0)  # its block, and number in it
        self._viewport = viewport
        self._document: Document = viewport.document
        self._on_change = on_change
        self._searched_words: tuple[str, ...] = ()  # for `search_again`
        self._query = Query()
        self._counts: list[int] = []  # hits of each message
        self._search_start = LogPosition(0)  # the first hit is searched from its block on
        # Marks in each line, by `id(block)`. The lines tell whether the block was laid out again;
        # it is kept so that no other one gets its id.
        self._marks: dict[int, tuple[Block, list[Line], list[list[Mark]]]] = {}

    @property
    def is_active(self) -> bool:
        return bool(self._query.needles)

    @property
    def number_and_count(self) -> tuple[int, int]:
        """The number of the current hit, from 1 (0 if none), and how many there are."""
        number = 0 if self.index is None else sum(self._counts[: self.index]) + self._nth + 1
        return number, sum(self._counts)

    def marks(
        self, position: LogPosition, block: Block, row: int
    ) -> Iterator[tuple[int, int, bool]]:
        """Yield the parts of hits in a line: first character, end, whether it is the current hit.

        `row` is the line's index in the block.
        """
        if not self.is_active or not block.source:
            return
        current = (self.index, *self._current_in_block)
        for start, end, nth in self._marks_of(block)[row]:
            yield start, end, (position.message_index, position.number, nth) == current

    def _marks_of(self, block: Block) -> list[list[Mark]]:
        """Return the marks in each line of a laid out block; a wrapped hit has several."""
        lines = block.lines or []
        known = self._marks.get(id(block))
        if known is not None and known[1] is lines:
            return known[2]
        starts = row_starts(block)
        rows: list[list[Mark]] = [[] for _ in lines]
        for nth, (hit_start, hit_end) in enumerate(self._query.spans(unwrapped_text(block))):
            for row, (start, stop) in enumerate(pairwise(starts)):
                first, last = max(hit_start, start), min(hit_end, stop)
                if first < last:
                    rows[row].append(Mark(first - start, last - start, nth))
        self._marks[id(block)] = block, lines, rows
        return rows

    # Searching

    def find(self, *words: str) -> int:
        """Return how many hits there are; the view does not move."""
        self._search(words)
        self._on_change()
        return sum(self._counts)

    def seek(self, query: str) -> None:
        """Mark all hits of what is typed; show the first at or below the top of the screen."""
        self._search((query,))
        self.step(1)

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Search words, and show the first hit in a message: in its text, else in its reasoning.

        It was found in the saved sessions. Unlike words from the find bar, these are not searched
        again in the next session.
        """
        index = self._document.index_of(message_id)
        if index is None:
            return
        self._search(words)
        self._searched_words = ()
        self._search_start = LogPosition(index)
        if self._counts[index]:
            parts = self._document.entries[index].message.parts
            thoughts = (part.text for part in parts if isinstance(part, ReasoningPart))
            # they come first: their number is the index of the first hit in the text
            in_thoughts = sum(map(self._query.count, thoughts))
            self._show(index, in_thoughts if in_thoughts < self._counts[index] else 0)
        self._on_change()

    def clear(self) -> None:
        """End the search; the view stays."""
        if not self.is_active:
            return
        self._search(())
        self._on_change()

    def search_again(self) -> None:
        self._search(self._searched_words)

    def _search(self, words: Sequence[str]) -> None:
        """Start a search at the top of the screen; no hit is current yet."""
        document = self._document
        self._search_start = (
            document.locate(self._viewport.top) if len(document) else LogPosition(0)
        )
        self._searched_words = tuple(words)
        if any(words):  # `n` does not search an emptied query
            self.last_words = tuple(words)
        self._query = Query(words)
        self.index = None
        self._marks = {}
        self._counts = [self._count(index) for index in range(len(document))]

    def _count(self, index: int) -> int:
        if not self.is_active:
            return 0
        return sum(map(self._query.count, self._document.entries[index].texts))

    def recount(self, index: int) -> None:
        """Count the hits of a new or changed message; find the current hit again."""
        # a new message has no count yet
        self._counts += [0] * (len(self._document) - len(self._counts))
        if not self.is_active or self._document.entries[index].is_streaming:
            return
        self._counts[index] = self._count(index)
        if index != self.index:
            return
        if self._nth >= self._counts[index]:
            self.index = None
            return
        with self._viewport.anchored():
            self._locate(index)  # it may be in another block now

    def shift_messages(self, count: int) -> None:
        self._counts[:0] = [self._count(index) for index in range(count)]
        self._search_start = self._search_start._replace(
            message_index=self._search_start.message_index + count
        )
        if self.index is not None:
            self.index += count

    # Going to hits

    def step(self, step: int) -> tuple[int, int]:
        """Show the next hit (`step` 1) or the previous one (-1); after the last comes the first.

        Return `number_and_count`.
        """
        if not any(self._counts):
            self._on_change()
            return 0, 0
        if self.index is not None:
            # without such a hit, the loop below finds another message
            index = self.index
            nth = self._nth + step
        else:
            # from the block where the search started
            index, number, _ = self._search_start
            above = self._document.entries[index].blocks[: max(number, 0)]
            hits_above = sum(self._query.count(block.source) for block in above)
            nth = hits_above if step > 0 else hits_above - 1
        while not 0 <= nth < self._counts[index]:
            index = (index + step) % len(self._counts)
            nth = 0 if step > 0 else self._counts[index] - 1
        self._show(index, nth)
        self._on_change()
        return self.number_and_count

    def _show(self, index: int, nth: int) -> None:
        """Bring a hit into view; if it is there, nothing moves."""
        self.index = index
        self._nth = nth
        viewport = self._viewport
        with viewport.anchored():  # this may unfold the message
            position = self._locate(index)
        if not viewport.shows(self._document.row_of(position), 1):
            # a third from the top: the text that leads to it is shown, too
            viewport.scroll_to_position(position, viewport.height // 3)
        if viewport.is_following and self._document.entries[-1].is_streaming:
            viewport.stop_following()  # new text would push the hit away

    def _locate(self, index: int) -> LogPosition:
        """Lay out message `index`, unfold it if it hides the current hit; return the hit's row.

        Set `_current_in_block`. If the hit is not shown, as in the address of a link, the last
        shown hit of its block counts.
        """
        document = self._document
        document.lay_out(index)
        entry = document.entries[index]
        hits = self._hits_of(entry.blocks)
        # without a block while the reasoning is folded; it comes first
        folded_count = max(self._counts[index] - len(hits), 0) if entry.is_collapsed else 0
        if self._nth < folded_count:
            document.toggle(index, "is_collapsed")
            hits = self._hits_of(entry.blocks)
            folded_count = 0
        # without hits in what is shown, the beginning
        number, nth = hits[min(self._nth - folded_count, len(hits) - 1)] if hits else (0, 0)
        first_rows: dict[int, int] = {}  # by number of the hit, which may cover several rows
        for row, marks in enumerate(self._marks_of(entry.blocks[number])):
            for mark in marks:
                first_rows.setdefault(mark.nth, row)
        nth = min(nth, max(first_rows, default=0))
        self._current_in_block = number, nth
        position = LogPosition(index, number, 0)
        return position._replace(row=first_rows.get(nth, 0) + document.blank_rows(position))

    def _hits_of(self, blocks: Iterable[Block]) -> list[tuple[int, int]]:
        """Each hit is the number of its block and its own in the block."""
        counts = enumerate(self._query.count(block.source) for block in blocks)
        return [(number, nth) for number, count in counts for nth in range(count)]
