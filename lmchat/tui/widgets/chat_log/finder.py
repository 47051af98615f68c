"""Find in a session: go from one hit to the next.

A hit is selected, that is, made the current one, before it is shown: its message is unfolded and
its block is laid out for that. `nth` is the index of a hit among those of its message.
"""

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
    """Which hit is the current one, and how many were counted so far."""

    current_number: int  # from 1; 0 if no hit is current
    hits: int


class Mark(Struct, frozen=True):
    """Characters of a row to be marked."""

    start: int
    end: int
    is_current: bool  # whether they belong to the current hit


class CurrentHit(Struct, frozen=True):
    """The hit that is current."""

    index: int  # message
    nth: int  # its index in the message; hits in folded text come first
    hit: Hit

    @property
    def place(self) -> Place:
        return Place(self.index, self.hit.number, self.hit.first_row)


class Finder:
    """Finds words in all messages, and brings one hit after the other into view.

    The hits of an answer that streams are counted when a search begins, and again when it ends.
    """

    def __init__(self, viewport: Viewport, on_change: Callable[[], None]) -> None:
        """Create it; `on_change` is called when the marks or the counts may have changed."""
        self.last_words: tuple[str, ...] = ()  # of the last search, for `n` without the find bar
        self.searches = 0  # number of searches so far
        self._viewport = viewport
        self._document = viewport.document
        self._on_change = on_change
        self._words: tuple[str, ...] = ()
        self._is_for_all_sessions = True  # whether another session is searched for the words too
        self._has_remembered_view = False  # whether the position before typing is remembered
        self._waits_for_first_hit = False  # whether the first hit is shown as soon as it is counted
        self._unfolded: int | None = None  # the message that was unfolded for a hit
        self._start = Place(0, -1, 0)  # row from which on the first hit is searched
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
        """Whether `count_rest` has work to do."""
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
        """The number of the current hit, and how many hits there are."""
        counts = self._hits.counts
        current = self._current
        current_number = sum(counts[: current.index]) + current.nth + 1 if current else 0
        return Standing(current_number, sum(counts))

    def marks(self, place: Place, block: Block, row: int) -> Iterator[Mark]:
        """Yield the parts of hits in one line of the block at a place.

        `row` is the index of the line among the lines of the block, and not the row of `place`,
        which counts the blank row above. Nothing is marked in annotations, and in blocks that are
        not laid out.
        """
        if not self.is_active or not block.source or block.lines is None:
            return
        current = self._current
        current_nth = None  # index of the current hit, if it is in this block
        if current and (current.index, current.hit.number) == (place.message, place.block):
            current_nth = current.hit.nth_in_block
        for span in self._hits.hits_by_row(block)[row]:
            yield Mark(span.start, span.end, span.nth_in_block == current_nth)

    # Searching

    def find(self, *words: str) -> int:
        """Begin a search for words, without moving the view; return how many hits it has so far."""
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
        elif self._current is not None:  # the query before has moved the view to this hit
            with self._viewport.anchored():
                self._fold_again()
            self._viewport.return_to("find")
        self._search((query,))
        self._waits_for_first_hit = True
        self._show_first_hit()
        self._on_change()

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Search words, and show the first hit in a message: in its text, else in its reasoning.

        This is for a message that was found in the saved sessions: unlike words from the find bar,
        these are not searched again in the next session. If it is not in the log, do nothing.
        """
        index = self._document.entries.index_of(message_id)
        if index is None:
            return
        self._search(words, Place(index, -1, 0))
        self._is_for_all_sessions = False
        with self._viewport.anchored():
            self._document.build(index)
            folded_count = self._hits.count_folded(index)  # hits in reasoning come first
            if not self._select_hit(index, folded_count, 1):
                self._select_hit(index, 0, 1)
        self._show_current()

    def clear(self) -> None:
        """End the search; the view stays where it is."""
        self._reset()
        self._on_change()

    def restart(self) -> None:
        """Search the messages of another session, unless the words were only for the last one.

        The session has been loaded into the document already.
        """
        words = self._words if self._is_for_all_sessions else ()
        self._reset()
        if words:
            self._search(words)

    def _reset(self) -> None:
        """Forget the search; nothing is folded, and the view stays where it is."""
        self._current = None
        self._has_remembered_view = False
        self._waits_for_first_hit = False
        self._unfolded = None
        self._words = ()
        self._hits = Hits(self._document)

    def _search(self, words: Sequence[str], first: Place | None = None) -> None:
        """Begin a search for words; the first hit is searched from row `first` on.

        Without `first`, that is the top of the screen. Some messages are counted at once; the
        others are left to `count_rest`. No hit is current yet.
        """
        if first is None:
            is_empty = not len(self._document)
            first = Place(0, -1, 0) if is_empty else self._document.locate(self._viewport.top)
        self.searches += 1
        self._words = tuple(words)
        if any(words):  # an emptied query is not searched again by `n`
            self.last_words = self._words
        self._is_for_all_sessions = True
        self._waits_for_first_hit = False
        self._start = first
        self._current = None
        self._count_all()

    def _show_first_hit(self) -> None:
        """Show the first hit once, if `seek` waits for it and its message was counted."""
        if self._waits_for_first_hit and self._is_first_hit_known():
            self._waits_for_first_hit = False
            self._go_to_next(1)

    def _is_first_hit_known(self) -> bool:
        """Return whether the first hit at or below the row `_start` was counted.

        Messages are counted in the order in which hits are shown: from the message of `_start` on.
        So the first hit is known as soon as any was counted, except for those that are above
        `_start` in its own message: they come last.
        """
        counts = self._hits.counts
        hit_count = sum(counts)
        if not hit_count:
            return False
        is_in_other_message = counts[self._start.message] < hit_count
        if self.is_complete or is_in_other_message:
            return True
        return self._count_above_start() < hit_count

    # Counting

    def _count_all(self) -> None:
        """Begin to count the hits of all messages, from the one where the search begins."""
        self._hits = Hits(self._document, self._words, self._start.message)
        self._hits.count_slice()

    async def count_rest(self) -> None:
        """Count the messages that were not counted yet, between keys and frames.

        The first hit is shown as soon as it is counted, if `seek` waits for it.
        """
        while self.is_counting:
            self._hits.count_slice()
            self._show_first_hit()
            if self.is_complete:
                with self._viewport.anchored():
                    self._update_current()  # its message was counted by source; now as it is shown
                self._on_change()
            await asyncio.sleep(0)

    def recount(self, index: int) -> None:
        """Count the hits of a new or changed message; the current hit is found again in it.

        An answer that streams is counted when it ends.
        """
        if not self.is_active or self._document.entries[index].is_streaming:
            return
        self._hits.count(index)
        if index == self.index:
            self._update_current()

    def shift_messages(self, count: int) -> None:
        """Adapt to `count` messages that were put before all others.

        All indexes are shifted, and all messages are counted again.
        """
        if not self.is_active:
            return
        start = self._start
        self._start = Place(start.message + count, start.block, start.row)
        if self._unfolded is not None:
            self._unfolded += count
        current = self._current
        if current is not None:
            self._current = CurrentHit(current.index + count, current.nth, current.hit)
        self._count_all()

    # Going to hits

    def step(self, step: int) -> Standing:
        """Show the next hit (`step` 1) or the previous one (-1); return which one it is."""
        self._has_remembered_view = False  # the next query begins where this hit is
        self._go_to_next(step)
        return self.standing

    def _go_to_next(self, step: int) -> None:
        """Select the next hit (`step` 1) or the previous one (-1), and bring it into view."""
        with self._viewport.anchored():  # blocks are unfolded, folded and laid out on the way
            self._select_next(step)
        self._show_current()

    def _show_current(self) -> None:
        """Bring the current hit into view if there is one, and report the change.

        A hit that is in view already does not move.
        """
        current = self._current
        if current is not None:
            viewport = self._viewport
            row = self._document.position(current.place) - viewport.top
            rows_below = current.hit.last_row - current.hit.first_row
            if not 0 <= row < viewport.height - rows_below:
                rows_above = viewport.height // 3  # so that what leads to the hit can be read
                viewport.scroll_to_place(current.place, rows_above)
            if viewport.is_following and self._document.entries[-1].is_streaming:
                viewport.stop_following()  # or new text would push the hit away
        self._on_change()

    def _select_next(self, step: int) -> None:
        """Select the next hit (`step` 1) or the previous one (-1); after the last comes the first.

        Without a current hit, search from the row where the search began. Without any hit, no hit
        is current afterwards.
        """
        counts = self._hits.counts
        if not counts:
            return
        if self._current is not None:
            index = self._current.index
            nth = self._current.nth + step
        else:
            index = self._start.message
            above_start = self._count_above_start()
            nth = above_start if step > 0 else above_start - 1
        # the message in which the search begins is tried twice: its other hits come last
        for distance in range(len(counts) + 1):
            other = (index + step * distance) % len(counts)
            if distance:
                nth = 0 if step > 0 else _LAST
            if counts[other] and self._select_hit(other, nth, step):
                return
        self._current = None

    def _count_above_start(self) -> int:
        """Return how many hits of a message are above the row `_start`, which is in that message.

        The search began at that row. Hits in folded text are the first of a message, as if they
        were in its first block. They count as above the row, unless the row is in that block and no
        shown hit is above it.
        """
        index, number, row = self._start
        if number < 0 or not self._hits.counts[index]:  # it begins above the text of the message
            return 0
        shown = self._hits.shown_hits(index)
        above = [hit for hit in shown if (hit.number, hit.last_row) < (number, row)]
        if number == 0 and not above:
            return 0
        return self._hits.count_folded(index) + len(above)

    def _select_hit(self, index: int, nth: int, step: int) -> bool:
        """Select the n-th hit of a message; return False if the message has no such hit.

        `step` is the direction in which hits are gone through. With -1, a message is entered from
        its end: a too large `nth` is its last hit. The message that was unfolded for a hit before
        is folded again, unless it is this one.
        """
        selected = self._lay_out_hit(index, nth, step)
        if selected is None:
            return False
        if index != self._unfolded:
            self._fold_again()
        self._current = selected
        return True

    def _lay_out_hit(self, index: int, nth: int, step: int) -> CurrentHit | None:
        """Unfold the message if its n-th hit is in folded text, and lay out the block of the hit.

        Return the hit, or None if the message has no such hit. What is unfolded or laid out may
        have fewer hits than its source, in which they were counted before: all hits of the message
        are then counted again, and the n-th one is searched again, until it is in a block that is
        laid out.
        """
        while True:
            shown = self._hits.shown_hits(index)
            folded_count = self._hits.count_folded(index)
            total = folded_count + len(shown)
            self._hits.counts[index] = total
            if step < 0:
                nth = min(nth, total - 1)
            if not 0 <= nth < total:
                return None

            if nth < folded_count:
                self._unfold(index)  # the folded hits come first, so `nth` stays
                continue
            hit = shown[nth - folded_count]
            if self._is_final(index, hit):
                return CurrentHit(index, nth, hit)
            self._document.lay_out_block(index, hit.number)
            if step < 0:
                # The block was entered from its end: its last hit is wanted. The hits that it has
                # lost are before that one.
                nth += len(self._hits.shown_hits(index)) - len(shown)

    def _is_final(self, index: int, hit: Hit) -> bool:
        """Return whether a hit of a message stays as it is: its block is laid out.

        Before the log is shown first, nothing is laid out, and nothing can be.
        """
        block = self._document.entries[index].blocks[hit.number]
        return block.lines is not None or self._document.layout is None

    def _update_current(self) -> None:
        """Select the current hit again in its message, which has changed, or else no hit."""
        current = self._current
        if current is not None and not self._select_hit(current.index, current.nth, 1):
            self._current = None

    def _unfold(self, index: int) -> None:
        """Unfold a message for a hit, and fold the one that was unfolded for another hit."""
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
