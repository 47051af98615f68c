"""Find words in all messages of the log, and go from one hit to the next.

A hit is a message and its n-th occurrence in the source of the message. To show it, its block is
laid out; in blocks that are laid out, all occurrences in the shown text are marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from lmchat.cells import graphemes
from lmchat.markdown.block import Block, Line
from lmchat.matching import normalized
from lmchat.safe_text import safe_text
from lmchat.sessions.message import ReasoningPart
from lmchat.tui.chat_log.anchor import row_starts, unwrapped_text
from lmchat.tui.chat_log.document import Document, Place
from lmchat.tui.chat_log.viewport import Viewport

MAX_CHARS = 1_000  # longer words were pasted by mistake; only the beginning is searched
_KEPT_BLOCKS = 2_000  # blocks whose marks are remembered
_SELECTORS = "[\ufe00-\ufe0f]"  # they choose between two looks of a character

Range = tuple[int, int]  # first character, and the one after the last


def folded(text: str) -> str:
    """Return text in a form that is the same for each case and each way to write an accent.

    The four letters i of Turkish become one: only then is each found in the other case. Signs that
    choose between two looks of a character are removed.
    """
    if text.isascii():
        return text.lower()
    text = normalized("NFC", text).replace("\u0130", "i").casefold().replace("\u0131", "i")
    return re.sub(_SELECTORS, "", text) if "\ufe0f" in text or "\ufe0e" in text else text


class Query:
    """A search for any of some words; without words it finds nothing."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        cut_words = {re.sub(r"\s+", " ", folded(safe_text(word[:MAX_CHARS]))) for word in words}
        self.needles = sorted(filter(None, cut_words), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_pattern_of, self.needles)))

    def count(self, text: str) -> int:
        """Return how many hits a text has, about: in rare scripts a hit may split a character."""
        if not self.needles:
            return 0
        return sum(1 for _ in self._pattern.finditer(folded(text)))

    def spans(self, text: str) -> Iterator[Range]:
        """Yield the range of each hit in a text.

        No hit begins or ends within a drawn character: of `é`, the letter `e` is no hit.
        """
        if not self.needles:
            return
        if text.isascii():
            yield from (match.span() for match in self._pattern.finditer(text.lower()))
            return
        letters, places = _with_places(text)
        match = self._pattern.search(letters)
        while match:
            start, end = match.span()
            next_start = end
            if start in places and end in places:
                yield places[start], places[end]
            else:  # it splits a character: continue with the next letter
                next_start = start + 1
            match = self._pattern.search(letters, next_start)


def _pattern_of(needle: str) -> str:
    """Return the pattern of a folded word, in which a blank matches any run of blanks."""
    pattern = r"\s+".join(map(re.escape, needle.split(" ")))
    # a run of blanks matches from its first blank only: the time stays linear
    return rf"(?<!\s){pattern}" if needle.startswith(" ") else pattern


def _with_places(text: str) -> tuple[str, dict[int, int]]:
    """Return folded text, and the place in `text` for each of its places between two characters.

    The keys of the dictionary are places in the folded text, the values are those in `text`.
    """
    bounds = [*(start for start, _ in graphemes(text)), len(text)]
    letters = [folded(text[start:end]) for start, end in pairwise(bounds)]
    places = {0: 0}
    folded_end = 0
    for end, letter in zip(bounds[1:], letters, strict=True):
        folded_end += len(letter)
        places[folded_end] = end
    return "".join(letters), places


class Standing(NamedTuple):
    """Which hit is the current one, and how many there are."""

    current_number: int  # from 1; 0 if no hit is current
    hits: int


class Mark(Struct, frozen=True):
    """Characters of a row to be marked."""

    start: int
    end: int
    nth: int  # number of the hit in its block, from 0
    is_current: bool = False  # whether they belong to the current hit


class Finder:
    """Finds words in all messages, and brings one hit after the other into view.

    The hits of an answer that streams are counted when a search begins, and again when it ends.
    What the log adds (stats, states, cards) is not searched.
    """

    def __init__(self, viewport: Viewport, on_change: Callable[[], None]) -> None:
        """Create it; `on_change` is called when the marks or the counts may have changed."""
        self.last_words: tuple[str, ...] = ()  # of the last search, for `n` without the find bar
        self.index: int | None = None  # message of the current hit
        self._nth = 0  # number of the current hit in its message
        self._shown = (0, 0)  # block of the current hit, and its number in the block
        self._viewport = viewport
        self._document: Document = viewport.document
        self._on_change = on_change
        self._words: tuple[str, ...] = ()
        self._query = Query()
        self._counts: list[int] = []  # hits of each message
        self._start = Place(0, -1, 0)  # row from which on the first hit is searched
        self._is_for_all_sessions = True  # whether another session is searched for the words too
        self._has_remembered_view = False  # whether the position before typing is remembered
        self._marks: dict[int, tuple[Block, list[Line], list[list[Mark]]]] = {}  # by `id(block)`

    @property
    def is_active(self) -> bool:
        return bool(self._query.needles)

    @property
    def standing(self) -> Standing:
        """The number of the current hit, and how many hits there are."""
        number = 0 if self.index is None else sum(self._counts[: self.index]) + self._nth + 1
        return Standing(number, sum(self._counts))

    def marks(self, place: Place, block: Block, row: int) -> Iterator[Mark]:
        """Yield the parts of hits in a line of the block at a place; `row` is the line's index."""
        if not self.is_active or not block.source or block.lines is None:
            return
        is_current_block = (place.message, place.block) == (self.index, self._shown[0])
        for mark in self._marks_of(block)[row]:
            is_current = is_current_block and mark.nth == self._shown[1]
            yield Mark(mark.start, mark.end, mark.nth, is_current)

    def _marks_of(self, block: Block) -> list[list[Mark]]:
        """Return the marks in each line of a block that is laid out; a wrapped hit has several."""
        lines = block.lines or []
        known = self._marks.get(id(block))
        if known is not None and known[1] is lines:
            return known[2]
        starts = row_starts(block)
        rows: list[list[Mark]] = [[] for _ in lines]
        for nth, (begin, end) in enumerate(self._query.spans(unwrapped_text(block))):
            for row, (start, stop) in enumerate(pairwise(starts)):
                first, last = max(begin, start), min(end, stop)
                if first < last:
                    rows[row].append(Mark(first - start, last - start, nth))
        if len(self._marks) > _KEPT_BLOCKS:
            self._marks.clear()
        self._marks[id(block)] = block, lines, rows
        return rows

    # Searching

    def find(self, *words: str) -> int:
        """Begin a search for words, without moving the view; return how many hits it has."""
        self._search(words)
        self._on_change()
        return self.standing.hits

    def seek(self, query: str) -> None:
        """Mark all hits of what is typed, and show the first one at or below the top of the screen.

        Each change of the query searches from where the log was before the first letter was typed.
        Without a hit, that position is shown.
        """
        if not self._has_remembered_view:
            self._has_remembered_view = True
            self._viewport.remember("find")
        elif self.index is not None:  # the query before has moved the view to this hit
            self._viewport.return_to("find")
        self._search((query,))
        if any(self._counts):
            self._go_to_next(1)
        self._on_change()

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Search words, and show the first hit in a message: in its text, else in its reasoning.

        This is for a message that was found in the saved sessions: unlike words from the find bar,
        these are not searched again in the next session. If it is not in the log, do nothing.
        """
        index = self._document.entries.index_of(message_id)
        if index is None:
            return
        self._search(words)
        self._start = Place(index, -1, 0)
        self._is_for_all_sessions = False
        if self._counts[index]:
            message = self._document.entries[index].message
            parts = message.parts if message else ()
            thoughts = (part.text for part in parts if isinstance(part, ReasoningPart))
            in_thoughts = sum(map(self._query.count, thoughts))  # these hits come first
            self.index = index
            self._nth = in_thoughts if in_thoughts < self._counts[index] else 0
            self._show()
        self._on_change()

    def clear(self) -> None:
        """End the search; the view stays where it is."""
        self._has_remembered_view = False
        self._words = ()
        self._query = Query()
        self._count_all()
        self._on_change()

    def restart(self) -> None:
        """Search the messages of another session, unless the words were only for the last one.

        The session has been loaded into the document already.
        """
        words = self._words if self._is_for_all_sessions else ()
        self.clear()
        if words:
            self._search(words)

    def _search(self, words: Sequence[str]) -> None:
        """Begin a search for words from the top of the screen; no hit is current yet."""
        document = self._document
        self._start = document.locate(self._viewport.top) if len(document) else Place(0, -1, 0)
        self._words = tuple(words)
        if any(words):  # an emptied query is not searched again by `n`
            self.last_words = self._words
        self._query = Query(words)
        self._is_for_all_sessions = True
        self._count_all()

    def _count_all(self) -> None:
        self.index = None
        self._marks = {}
        self._counts = [self._count(index) for index in range(len(self._document))]

    def _count(self, index: int) -> int:
        """Return the hits of a message, shown or not."""
        if not self.is_active:
            return 0
        return sum(map(self._query.count, self._document.entries[index].texts))

    def recount(self, index: int) -> None:
        """Count the hits of a new or changed message; the current hit is found again in it.

        An answer that streams is counted when it ends.
        """
        self._counts += [0] * (len(self._document) - len(self._counts))
        if not self.is_active or self._document.entries[index].is_streaming:
            return
        self._counts[index] = self._count(index)
        if index == self.index:
            if self._nth < self._counts[index]:
                with self._viewport.anchored():
                    self._locate(index)
            else:
                self.index = None

    def shift_messages(self, count: int) -> None:
        """Adapt to `count` messages that were put before all others."""
        self._counts[:0] = [self._count(index) for index in range(count)]
        self._start = self._start._replace(message=self._start.message + count)
        if self.index is not None:
            self.index += count

    # Going to hits

    def step(self, step: int) -> Standing:
        """Show the next hit (`step` 1) or the previous one (-1); return which one it is."""
        self._has_remembered_view = False  # the next query begins where this hit is
        if any(self._counts):
            self._go_to_next(step)
        self._on_change()
        return self.standing

    def _go_to_next(self, step: int) -> None:
        """Show the next hit (`step` 1) or the previous one (-1); after the last comes the first."""
        if self.index is not None:
            index, nth = self.index, self._nth + step
        else:
            index, number, _ = self._start
            above = self._document.entries[index].blocks[: max(number, 0)]
            hits_above = sum(self._query.count(block.source) for block in above)
            nth = hits_above - (step < 0)
        while not 0 <= nth < self._counts[index]:
            index = (index + step) % len(self._counts)
            nth = 0 if step > 0 else self._counts[index] - 1
        self.index, self._nth = index, nth
        self._show()

    def _show(self) -> None:
        """Bring the current hit into view; one that is in view does not move."""
        if self.index is None:
            return
        viewport = self._viewport
        with viewport.anchored():
            place, rows_below = self._locate(self.index)
        row = self._document.position(place) - viewport.top
        if not 0 <= row < viewport.height - rows_below:
            viewport.scroll_to_place(
                place, viewport.height // 3
            )  # so that what leads to it is read
        if viewport.is_following and self._document.entries[-1].is_streaming:
            viewport.stop_following()  # or new text would push the hit away

    def _locate(self, index: int) -> tuple[Place, int]:
        """Lay out the block of the current hit, in message `index`, which is unfolded if needed.

        Return the first row of the hit, and how many more it has. A hit that is not shown, as one
        in the address of a link, counts as the one before it.
        """
        document = self._document
        document.lay_out(index)
        entry = document.entries[index]
        counts = [self._query.count(block.source) for block in entry.blocks]
        hidden = max(self._counts[index] - sum(counts), 0) if entry.is_folded else 0
        if self._nth < hidden:  # what is folded comes before the other text
            entry.is_folded = False
            document.rebuild(index)
            counts = [self._query.count(block.source) for block in entry.blocks]
            hidden = 0
        nth = self._nth - hidden
        number = 0
        for current, count in enumerate(counts):
            if count:
                number = current
            if nth < count:
                break
            nth -= count
        if document.layout is None:  # before the log is shown first
            self._shown = number, 0
            return Place(index, number, 0), 0

        height = entry.heights[number]
        block = entry.blocks[number]
        rows_of_hits: dict[int, list[int]] = {}
        for row, marks in enumerate(self._marks_of(block), height - len(block.lines or ())):
            for mark in marks:
                rows_of_hits.setdefault(mark.nth, []).append(row)
        nth = min(nth, max(rows_of_hits, default=0))
        rows = rows_of_hits.get(nth, [0])
        self._shown = number, nth
        return Place(index, number, rows[0]), rows[-1] - rows[0]
