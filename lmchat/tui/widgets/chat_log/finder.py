"""Find in a session: go from one hit to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.hits import Hit, Hits
from lmchat.tui.widgets.chat_log.viewport import Viewport

_LAST = 1 << 40  # more than the number of any hit of a message


class Standing(NamedTuple):
    """The number of the current hit, 0 for none, and the number of hits so far."""

    place: int
    hits: int


class Mark(Struct, frozen=True):
    """Characters of a row to be marked."""

    start: int
    end: int
    is_current: bool  # whether they belong to the current hit


class CurrentHit(Struct, frozen=True):
    """The hit that was gone to."""

    index: int  # message
    nth: int  # its number in the message
    hit: Hit

    @property
    def place(self) -> Place:
        return Place(self.index, self.hit.number, self.hit.first_row)


class Finder:
    """Finds words in all messages, and brings one hit after the other into view.

    An open answer is counted when it ends, or when it is searched again. `changed` is called when
    the screen may look different, or the counts are others.
    """

    def __init__(self, viewport: Viewport, changed: Callable[[], None]) -> None:
        self.last_words: tuple[str, ...] = ()  # of the last search, for `n` without the find bar
        self.searches = 0  # number of searches so far
        self._viewport = viewport
        self._document = viewport.document
        self._changed = changed
        self._words: tuple[str, ...] = ()
        self._is_lasting = True  # whether other messages are searched for the same words
        self._is_away = False  # whether the view has left what was read before something was typed
        self._is_seeking = False  # whether the first hit is shown as soon as there is one
        self._unfolded: int | None = None  # the message that was unfolded for a hit
        self._first = Place(0, -1, 0)  # row from which the first hit is looked for
        self._current: CurrentHit | None = None
        self._hits = Hits(self._document)

    @property
    def is_active(self) -> bool:
        return self._hits.is_active

    @property
    def is_complete(self) -> bool:
        """Whether all messages were counted."""
        return self._hits.is_complete

    @property
    def is_counting(self) -> bool:
        """Whether `count_rest` is to be run."""
        return self.is_active and not self.is_complete

    @property
    def index(self) -> int | None:
        """The message of the current hit."""
        return self._current.index if self._current else None

    @property
    def place(self) -> Place | None:
        """The first row of the current hit."""
        return self._current.place if self._current else None

    @property
    def standing(self) -> Standing:
        counts = self._hits.counts
        current = self._current
        place = sum(counts[: current.index]) + current.nth + 1 if current else 0
        return Standing(place, sum(counts))

    def marks(self, place: Place, block: Block, row: int) -> Iterator[Mark]:
        """Yield what is to be marked in a row."""
        if not self.is_active or not block.source or block.lines is None:
            return
        current = None
        if self._current and self._current.place[:2] == place[:2]:
            current = self._current.hit.within
        for span in self._hits.rows(block)[row]:
            yield Mark(span.start, span.end, span.within == current)

    # Searching

    def find(self, *words: str) -> int:
        """Mark all hits; return how many were found so far."""
        self._search(words)
        self._changed()
        return self.standing.hits

    def seek(self, words: str) -> None:
        """Mark all hits and show the first from here on; without a hit, go back."""
        if not self._is_away:
            self._is_away = True
            self._viewport.remember("find")
        elif self._current is not None:
            with self._viewport.anchored():
                self._fold_again()
            self._viewport.return_to("find")
        self._search((words,))
        self._is_seeking = True
        self._seek()
        self._changed()

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Mark words, and show the first in the text of a message, else in its reasoning."""
        index = self._document.entries.index_of(message_id)
        if index is None:
            return
        self._search(words, Place(index, -1, 0))
        self._is_lasting = False
        with self._viewport.anchored():
            self._document.build(index)
            folded = self._hits.folded(index)
            if not self._go(index, folded, 1):
                self._go(index, 0, 1)
        self._show_current()

    def clear(self) -> None:
        """Stop finding; the view stays where it is."""
        self._reset()
        self._changed()

    def restart(self) -> None:
        """Find again in other messages, unless the words were only for the last session."""
        words = self._words if self._is_lasting else ()
        self._reset()
        if words:
            self._search(words)

    def _reset(self) -> None:
        self._current = None
        self._is_away = False
        self._is_seeking = False
        self._unfolded = None
        self._words = ()
        self._hits = Hits(self._document)

    def _search(self, words: Sequence[str], first: Place | None = None) -> None:
        """Search the first messages at once; the others are left to `count_rest`."""
        if first is None:
            is_empty = not len(self._document)
            first = Place(0, -1, 0) if is_empty else self._document.locate(self._viewport.top)
        self.searches += 1
        self._words = tuple(words)
        if any(words):
            self.last_words = self._words
        self._is_lasting = True
        self._is_seeking = False
        self._first = first
        self._current = None
        self._count_all()

    def _seek(self) -> None:
        if self._is_seeking and self.standing.hits:
            self._is_seeking = False
            self._go_by(1)

    # Counting

    def _count_all(self) -> None:
        self._hits = Hits(self._document, self._words, self._first.message)
        self._hits.count_slice()

    async def count_rest(self) -> None:
        """Count the messages that were not counted yet, between keys and frames."""
        while self.is_counting:
            self._hits.count_slice()
            self._seek()
            if self.is_complete:
                with self._viewport.anchored():
                    self._resolve()
                self._changed()
            await asyncio.sleep(0)

    def recount(self, index: int) -> None:
        """Count the hits of a new or changed message; the current hit stays."""
        if not self.is_active or self._document.entries[index].is_streaming:
            return
        self._hits.count(index)
        if index == self.index:
            self._resolve()

    def moved(self, by: int) -> None:
        """Search messages that were put before all others."""
        if not self.is_active:
            return
        self._first = self._first._replace(message=self._first.message + by)
        if self._unfolded is not None:
            self._unfolded += by
        current = self._current
        if current is not None:
            self._current = CurrentHit(current.index + by, current.nth, current.hit)
        self._count_all()

    # Going to hits

    def step(self, by: int) -> Standing:
        """Show the next or previous hit; return its number and the number of hits."""
        self._is_away = False
        self._go_by(by)
        return self.standing

    def _go_by(self, by: int) -> None:
        with self._viewport.anchored():  # blocks are unfolded, folded and laid out on the way
            self._next(by)
        self._show_current()

    def _show_current(self) -> None:
        """Bring the current hit into view."""
        current = self._current
        if current is not None:
            viewport = self._viewport
            row = self._document.position(current.place) - viewport.top
            rows_below = current.hit.last_row - current.hit.first_row
            if not 0 <= row < viewport.height - rows_below:
                viewport.scroll_to_place(current.place, viewport.height // 3)
            if viewport.is_following and self._document.entries[-1].is_streaming:
                viewport.stop_following()  # or new text would push the hit away
        self._changed()

    def _next(self, by: int) -> None:
        """Go to the next or previous hit, round the end."""
        counts = self._hits.counts
        if not counts:
            return
        if self._current is not None:
            index = self._current.index
            nth = self._current.nth + by
        else:
            index = self._first.message
            above = self._hits_above()
            nth = above if by > 0 else above - 1
        for distance in range(len(counts) + 1):
            at = (index + by * distance) % len(counts)
            if distance:
                nth = 0 if by > 0 else _LAST
            if counts[at] and self._go(at, nth, by):
                return
        self._current = None

    def _hits_above(self) -> int:
        """Return the hits of the first message above the row from which on they are searched."""
        index, number, row = self._first
        if number < 0 or not self._hits.counts[index]:
            return 0
        shown = self._hits.shown(index)
        above = sum((hit.number, hit.last_row) < (number, row) for hit in shown)
        # where nothing is above, folded hits are shown there
        return self._hits.folded(index) + above if number or above else 0

    def _go(self, index: int, nth: int, by: int) -> bool:
        """Make the n-th hit of a message the current one; return False if it has no such hit.

        The source of a block may promise more hits than it shows once it is laid out; then the next
        hit in the direction `by` is taken.
        """
        while True:
            shown = self._hits.shown(index)
            folded = self._hits.folded(index)
            total = folded + len(shown)
            self._hits.counts[index] = total
            if by < 0:
                nth = min(nth, total - 1)
            if not 0 <= nth < total:
                return False

            if nth < folded:
                self._unfold(index)
                continue
            hit = shown[nth - folded]
            block = self._document.entries[index].blocks[hit.number]
            if block.lines is not None or self._document.layout is None:
                break
            self._document.prepare(index, hit.number)
            if by < 0:
                nth += len(self._hits.shown(index)) - len(shown)
        if index != self._unfolded:
            self._fold_again()
        self._current = CurrentHit(index, nth, hit)
        return True

    def _resolve(self) -> None:
        """Find again where the current hit is shown."""
        current = self._current
        if current is not None and not self._go(current.index, current.nth, 1):
            self._current = None

    def _unfold(self, index: int) -> None:
        self._fold_again()
        self._document.entries[index].is_folded = False
        self._document.rebuild(index)
        self._unfolded = index

    def _fold_again(self) -> None:
        """Fold the message that was unfolded for a hit."""
        index = self._unfolded
        self._unfolded = None
        if index is None or index >= len(self._document):
            return
        entry = self._document.entries[index]
        if not entry.is_folded:
            entry.is_folded = True
            self._document.rebuild(index)
