"""Find in a session: how many hits each message has, where each is shown, and going from one to the next."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from lmchat.domain.message import AttachedFile, ReasoningPart, Role, pieces_of
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.matching import Query
from lmchat.tui.widgets.chat_log.viewport import Viewport

AT_ONCE = 300_000  # characters that are searched before the key that asked for it is done with
SLICE = 100_000  # characters at a time after that: about 3 ms
_TOGETHER = 64  # messages that are searched together: most have no hits, which is seen of all at once
_KEPT_BLOCKS = 2_000  # blocks whose hits are remembered
_LAST = 1 << 40
_AS_WRITTEN = (Kind.FENCE, Kind.PLAIN, Kind.MADE)  # kinds of blocks that show their source as it is

Row = list[tuple[int, int, int]]  # where hits begin and end in a row, and their numbers in the block
Piece = tuple[int, int, str, str]
"""A row, where in it a text begins, the text, and what is between it and the next piece."""
Mark = tuple[int, int, bool]
"""First character in a row, the one after the last, and whether it is the current hit."""


def texts_in(lines: Sequence[Line]) -> Iterator[list[Piece]]:
    """Yield each line of text, and each cell of a table, as the pieces that it is wrapped to."""
    first = 0
    while first < len(lines):
        last = first
        while (lines[last].is_wrapped or lines[last].tails) and last + 1 < len(lines):
            last += 1
        if lines[first].cells:
            yield from _cells(lines, first, last)
        else:
            yield [(number, 0, lines[number].text, "") for number in range(first, last + 1)]
        first = last + 1


def _cells(lines: Sequence[Line], first: int, last: int) -> Iterator[list[Piece]]:
    for column in range(len(lines[first].cells)):
        pieces = []
        for number in range(first, last + 1):
            line = lines[number]
            start, end = line.cells[column]
            text = line.text[start:end].rstrip()
            words = text.lstrip()
            pieces.append((number, start + len(text) - len(words), words, "".join(line.tails[column:][:1])))
        yield pieces


class Finder:
    """Hits of a query in all messages, and which of them is the current one.

    A message is counted by its source without the markup. Blocks in which a hit is looked for are laid out,
    and count as they are shown from then on. What the log adds (receipts, states, cards) is not searched. An
    open answer is counted when it ends, or when it is searched again.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.clear()

    def clear(self) -> None:
        self.query: Query | None = None
        self.counts: list[int] = []  # hits of each message
        self.is_whole = False  # whether all messages were counted
        self.place: Place | None = None  # row of the current hit; None where there is none
        self.rows_below = 0  # on how many more rows it goes on
        self._first: Place = (0, -1, 0)
        self._index = -1
        self._nth = self._within = 0  # number of the current hit in its message and in its block
        self._unfolded = -1
        self._shown: dict[int, tuple[Block, list[Line], list[Row], int]] = {}

    @property
    def is_active(self) -> bool:
        return self.query is not None

    @property
    def index(self) -> int:
        return self._index if self.place else -1

    @property
    def standing(self) -> tuple[int, int]:
        """The number of the current hit, 0 for none, and how many there are."""
        number = sum(self.counts[: self._index]) + self._nth + 1 if self.place else 0
        return number, sum(self.counts)

    def find(self, words: Iterable[str], first: Place = (0, -1, 0)) -> Iterator[int]:
        """Count the hits of all messages, some at a time; yield the characters that were searched.

        `first` is where to look for the first hit.
        """
        unfolded = self._unfolded
        self.clear()
        self._unfolded = unfolded
        query = Query(words)
        if query.needles:
            self.query, self._first = query, first
        return self.count_again()

    def count_again(self) -> Iterator[int]:
        """Count the hits of all messages; the current one stays the same."""
        query, count, entries = self.query, len(self._document), self._document.entries
        self.counts, self.is_whole = [0] * count, False
        if query is None:
            return
        order = [*range(self._first[0], count), *range(self._first[0])]
        for start in range(0, count, _TOGETHER):
            some = order[start : start + _TOGETHER]
            texts = "\0".join(text for index in some for text in entries.texts(index)[0])
            if query.may_be_in(texts):
                for index in some:
                    self.counts[index] = self._likely(index)
            yield len(texts)
        self.is_whole = True
        self._resolve()

    def _likely(self, index: int) -> int:
        texts, is_plain = self._document.entries.texts(index)
        return self._likely_in(texts, is_plain=is_plain)

    def _likely_in(self, texts: Iterable[str], *, is_plain: bool) -> int:
        query = self.query
        return sum(query.count(text, is_plain=is_plain) for text in texts) if query else 0

    def moved(self, by: int) -> None:
        self._first = self._first[0] + by, *self._first[1:]
        self._index += by if self._index >= 0 else 0
        self._unfolded += by if self._unfolded >= 0 else 0
        if self.place is not None:
            self.place = self.place[0] + by, *self.place[1:]

    def recount(self, index: int) -> None:
        """Count the hits of one message that is new, or changed; the current one stays with its words."""
        self.counts += [0] * (len(self._document) - len(self.counts))
        self.counts[index] = self._likely(index)
        if index == self.index:
            self._resolve()

    def _resolve(self) -> None:
        index = self.index
        if index < 0 or self._document.entries[index].unread is not None:
            return
        if not self._go(index, self._nth, 1):
            self._index, self.place = -1, None

    def step(self, by: int) -> bool:
        """Go to the next or previous hit, round the end; return whether there is any."""
        count, index, nth = len(self.counts), self._index, self._nth
        if index < 0:
            index, nth = self._first[0], self._hits_above() - (by > 0)
        for distance in range(count + 1 if count else 0):
            at = (index + by * distance) % count
            if distance:
                nth = -1 if by > 0 else _LAST
            if self.counts[at] and self._go(at, nth + by, by):
                return True
        self._index, self.place = -1, None
        return False

    def go_to(self, index: int) -> bool:
        """Go to the first hit in what a message shows, else in what is folded; return whether one is."""
        if not self.counts[index]:
            return False
        self._document.whole(index)
        return self._go(index, self._folded(self._document.entries[index]), 1) or self._go(index, 0, 1)

    def _hits_above(self) -> int:
        """Return how many hits of the first message are above the row from which on they are searched."""
        index, number, row = self._first
        if number < 0 or not self.counts[index] or number >= self._document.whole(index):
            return 0
        entry = self._document.entries[index]
        self._document.prepare(index, number)
        rows, count = self._hits(entry.blocks[number])
        below = rows[max(row - (entry.heights[number] - len(rows)), 0) :]
        within = min((nth for found in below for _, _, nth in found), default=count)
        if not (number or within):
            return 0  # folded hits are shown there
        return self._folded(entry) + sum(map(self._count, entry.blocks[:number])) + within

    def _go(self, index: int, nth: int, by: int) -> bool:
        """Make the n-th hit of a message the current one, or the next that is there; False where none is."""
        document, entry = self._document, self._document.entries[index]
        while True:
            document.whole(index)
            counts = [self._folded(entry), *map(self._count, entry.blocks)]
            self.counts[index] = total = sum(counts)
            nth = total - 1 if nth >= _LAST - 1 else nth
            if not 0 <= nth < total:
                return False
            above = list(accumulate(counts, initial=0))
            number = bisect_right(above, nth) - 2
            if number < 0:
                self.fold_again()
                self._refold(index, is_folded=False)
                self._unfolded = index
                continue
            before = above[number + 1]
            document.prepare(index, number)
            rows, shown = self._hits(entry.blocks[number])
            if nth < before + shown:
                break
            nth = before + shown - (by < 0)  # the source promised more than the block shows
        if index != self._unfolded:
            self.fold_again()
        self._index, self._nth, self._within = index, nth, nth - before
        seen = [row for row, hits in enumerate(rows) if any(at == self._within for _, _, at in hits)]
        row = seen[0] if seen else 0  # before anything is laid out, the first one of the block
        self.rows_below = seen[-1] - row if seen else 0
        self.place = index, number, row + entry.heights[number] - len(rows)
        return True

    def fold_again(self) -> None:
        """Fold what was unfolded for a hit."""
        index, self._unfolded = self._unfolded, -1
        if 0 <= index < len(self._document) and not self._document.entries[index].is_folded:
            self._refold(index, is_folded=True)

    def _refold(self, index: int, *, is_folded: bool) -> None:
        self._document.entries[index].is_folded = is_folded
        self._document.rebuild(index)

    def _folded(self, entry: Entry) -> int:
        """Return how many hits are in folded text of a message."""
        message = entry.message
        if message is None or not entry.is_folded or entry.is_source:
            return 0
        if message.role is Role.SYSTEM:
            return self._likely_in([message.text], is_plain=True)
        if message.role is Role.USER:
            files = [piece.text for piece in pieces_of(message.text) if isinstance(piece, AttachedFile)]
            return self._likely_in(files, is_plain=True)
        thoughts = (part.text for part in entry.parts if part.kind is ReasoningPart)
        return self._likely_in(thoughts, is_plain=False)

    def _count(self, block: Block) -> int:
        """Return how many hits a block shows: exact once it was looked at, else by its source."""
        known = self._shown.get(id(block))
        if known is not None:
            return known[3]
        return self._likely_in([block.source], is_plain=block.kind in _AS_WRITTEN) if block.source else 0

    def _hits(self, block: Block) -> tuple[list[Row], int]:
        """Return the hits of a block by rows, and how many there are; by its source if it has no rows yet."""
        lines = block.lines
        if lines is None:
            return [], self._count(block)
        known = self._shown.get(id(block))
        if known is None or known[1] is not lines:
            if len(self._shown) > _KEPT_BLOCKS:
                self._shown.clear()
            known = self._shown[id(block)] = block, lines, *self._hits_in(lines)
        return known[2], known[3]

    def _hits_in(self, lines: Sequence[Line]) -> tuple[list[Row], int]:
        """Return the hits by rows, and how many there are; one that goes over the end of a row is in both."""
        rows: list[Row] = [[] for _ in lines]
        count = 0
        for pieces in texts_in(lines):
            text = "".join(words + tail for _, _, words, tail in pieces)
            for first, last in self.query.spans(text) if self.query else ():
                at = 0
                for row, start, words, tail in pieces:
                    begin, end = max(first - at, 0), min(last - at, len(words))
                    if begin < end:
                        rows[row].append((start + begin, start + end, count))
                    at += len(words) + len(tail)
                count += 1
        return rows, count

    def marks(self, place: Place, block: Block, row: int) -> Iterator[Mark]:
        """Yield what is to be marked in a row of a block that is laid out."""
        if self.query is None or not block.source or block.lines is None:
            return
        is_here = self.place is not None and self.place[:2] == place[:2]
        for start, end, nth in self._hits(block)[0][row]:
            yield start, end, is_here and nth == self._within


class HitNavigator:
    """Counts hits between keys and frames, and brings one after the other into view.

    `changed` is called when something on the screen may look different, `told` when the counts changed, and
    `run` with work to be done between keys and frames.
    """

    def __init__(
        self,
        viewport: Viewport,
        finder: Finder,
        changed: Callable[[], None],
        told: Callable[[], None],
        run: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._viewport = viewport
        self._document = viewport.document
        self._finder = finder
        self._changed, self._told, self._run = changed, told, run
        self.last_words: tuple[str, ...] = ()
        """Words of the last search, for `n` after the find bar was closed."""
        self._counting: Iterator[int] | None = None
        self._is_seeking = False
        self._wanted: tuple[str, ...] = ()
        self._is_away = False  # from what was read before something was typed

    def find(self, *words: str, first: int | None = None) -> int:
        """Mark all hits; return how many there are as far as was searched by now."""
        self._is_seeking = False
        self._viewport.give_up_waiting()
        self._wanted = words
        self.last_words = words if any(words) else self.last_words
        place = (first or 0, -1, 0)
        if first is None and len(self._document):
            place = self._document.locate(self._viewport.top)
        self._begin_count(self._finder.find(words, place))
        return self._finder.standing[1]

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Mark words, and show the first that a message has said, or else has thought."""
        index = self._document.entries.place(message_id)
        if index is not None:
            self.find(*words, first=index)
            self._wanted = ()  # they belong to this session alone
            self._viewport.when_read(partial(self._show_words, message_id))

    def _show_words(self, message_id: str) -> None:
        index = self._document.entries.place(message_id)
        if index is not None:
            self._show_hit(lambda: self._finder.go_to(index))

    def seek(self, words: str) -> None:
        """Mark all hits and show the first one from here on; go back where there is none."""
        if not self._is_away:
            self._is_away = True
            self._viewport.keep("find")
        elif self._finder.place is not None:
            self._finder.fold_again()
            self._viewport.go_back("find")
            self._changed()
        self.find(words)
        self._is_seeking = True
        self._seek()
        self._told()

    def _seek(self) -> None:
        if self._is_seeking and self._finder.standing[1]:
            self._is_seeking = False
            self._step()

    def clear(self) -> None:
        self._finder.clear()
        self._viewport.give_up_waiting()
        self._counting, self._is_seeking, self._is_away, self._wanted = None, False, False, ()
        self._changed()

    def step(self, by: int) -> tuple[int, int]:
        """Show the next or previous hit; return its number and how many there are."""
        self._is_away = False
        self._step(by)
        self._told()
        return self._finder.standing

    def _step(self, by: int = 1) -> None:
        self._viewport.when_read(lambda: self._show_hit(lambda: self._finder.step(by)))

    def _show_hit(self, go: Callable[[], bool]) -> None:
        """Make another hit the current one, and bring it into view."""
        finder, document, viewport = self._finder, self._document, self._viewport
        viewport.keep_still()
        has_hit = go()
        viewport.lay_out()  # what was unfolded, folded and laid out on the way has moved rows
        if has_hit and finder.place is not None:
            row = document.position(finder.place) - viewport.top
            if not 0 <= row < viewport.height - finder.rows_below:
                viewport.show_at(finder.place, viewport.height // 3)
            if viewport.is_following and document.entries[len(document) - 1].is_open:
                viewport.leave_end()  # or new text would push the hit away
        self._changed()
        self._told()

    def _begin_count(self, counting: Iterator[int]) -> None:
        self._counting = counting
        if self._count_on(AT_ONCE):
            self._run(partial(self._count_rest, counting))
        self._changed()

    def _count_on(self, chars: int) -> bool:
        """Search so many characters; return whether there is more to do."""
        for searched in self._counting or ():
            chars -= searched
            if chars <= 0:
                return True
        self._counting = None
        return False

    async def _count_rest(self, counting: Iterator[int]) -> None:
        """Give way to keys and frames after each slice; another search ends this one."""
        while self._counting is counting:
            is_more = self._count_on(SLICE)
            self._seek()
            if not is_more:
                self._told()
                self._changed()
                return
            await asyncio.sleep(0)

    def recount(self, index: int) -> None:
        before = self._finder.standing
        if self._finder.is_active and not self._document.entries[index].is_open:
            self._finder.recount(index)
        if self._finder.standing != before:
            self._told()

    def take_other_messages(self) -> None:
        """Look for the same words in other messages."""
        self._is_away = False
        self._finder.clear()
        if self._wanted:
            self.find(*self._wanted)
            self._told()
        else:
            self.clear()

    def moved(self, by: int) -> None:
        if self._finder.is_active:
            self._finder.moved(by)
            self._begin_count(self._finder.count_again())
            self._told()
