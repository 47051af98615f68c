"""Find in a session: counting hits and going from one to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from lmchat.domain.attached_files import AttachedFile, split_files
from lmchat.domain.message import ReasoningPart, Role
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.layout.annotations import call_texts
from lmchat.tui.widgets.chat_log.matching import Query
from lmchat.tui.widgets.chat_log.viewport import Viewport

SLICE = 60_000  # characters that are searched at a time, between keys and frames: about 3 ms
_KEPT_BLOCKS = 2_000  # blocks whose hits are remembered
_LAST = 1 << 40
_AS_WRITTEN = (Kind.FENCE, Kind.PLAIN, Kind.MADE)  # kinds of blocks that show their source as it is

Row = list[
    tuple[int, int, int]
]  # where hits begin and end in a row, and their numbers in the block
# a row, where in it a text begins, the text, and what is between it and the next fragment
Fragment = tuple[int, int, str, str]
# first character in a row, the one after the last, and whether it is the current hit
Mark = tuple[int, int, bool]


def texts_in(lines: Sequence[Line]) -> Iterator[list[Fragment]]:
    """Yield each line of text and each cell of a table as the fragments it is wrapped to."""
    first = 0
    while first < len(lines):
        last = first
        while (lines[last].is_wrapped or lines[last].tails) and last + 1 < len(lines):
            last += 1
        for column in range(len(lines[first].cells) or 1):
            yield [_fragment(lines[number], number, column) for number in range(first, last + 1)]
        first = last + 1


def _fragment(line: Line, number: int, column: int) -> Fragment:
    if not line.cells:
        return number, 0, line.text, ""
    start, end = line.cells[column]
    text = line.text[start:end].rstrip()
    words = text.lstrip()
    return number, start + len(text) - len(words), words, "".join(line.tails[column:][:1])


def _hits_in(query: Query, lines: Sequence[Line]) -> list[Row]:
    rows: list[Row] = [[] for _ in lines]
    nth = 0
    for fragments in texts_in(lines):
        for first, last in query.spans("".join(words + tail for _, _, words, tail in fragments)):
            at = 0
            for row, start, words, tail in fragments:
                begin, end = max(first - at, 0), min(last - at, len(words))
                if begin < end:
                    rows[row].append((start + begin, start + end, nth))
                at += len(words) + len(tail)
            nth += 1
    return rows


class Finder:
    """Counts the hits of a search in all messages, and brings one after the other into view.

    A message is counted by its source without the markup. Blocks in which a hit is looked for are laid out,
    and count as they are shown from then on. What the log adds (receipts, states, cards) is not searched. An
    open answer is counted when it ends, or when it is searched again.

    `changed` is called when something on the screen may look different, `told` when the counts changed, and
    `run` with work to be done between keys and frames.
    """

    def __init__(
        self,
        viewport: Viewport,
        changed: Callable[[], None],
        told: Callable[[], None],
        run: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._viewport = viewport
        self._document = viewport.document
        self._changed, self._told, self._run = changed, told, run
        self.last_words: tuple[
            str, ...
        ] = ()  # of the last search, for `n` after the find bar was closed
        self._wanted: tuple[str, ...] = ()
        self._is_away = False  # from what was read before something was typed
        self._unfolded = -1  # the message that was unfolded for a hit
        self._forget()

    def _forget(self) -> None:
        self.counts: list[int] = []  # hits of each message
        self.is_complete = False  # whether all messages were counted
        self.place: Place | None = None  # row of the current hit; None where there is none
        self._rows_below = 0  # on how many more rows it goes on
        self._nth = self._within = 0  # its number in there, and in its block
        self._query = Query(())
        # rows of blocks that were looked at, as long as they have the same lines
        self._known: dict[int, tuple[Block, list[Line], list[Row]]] = {}
        self._first: Place = (0, -1, 0)  # where to look for the first hit
        self._counting: Iterator[int] | None = None
        self._is_seeking = False

    @property
    def is_active(self) -> bool:
        return bool(self._query.needles)

    @property
    def index(self) -> int:
        """The message of the current hit; -1 for none."""
        return self.place[0] if self.place else -1

    @property
    def standing(self) -> tuple[int, int]:
        """The number of the current hit, 0 for none, and the number of hits."""
        number = sum(self.counts[: self.place[0]]) + self._nth + 1 if self.place else 0
        return number, sum(self.counts)

    def marks(self, place: Place, block: Block, row: int) -> Iterator[Mark]:
        """Yield what is to be marked in a row."""
        if not self.is_active or not block.source or block.lines is None:
            return
        is_here = self.place is not None and self.place[:2] == place[:2]
        for start, end, nth in self._rows(block)[row]:
            yield start, end, is_here and nth == self._within

    # Searching

    def find(self, *words: str, first: int | None = None) -> int:
        """Mark all hits; return how many were found so far."""
        self._forget()
        self._wanted = words
        self.last_words = words if any(words) else self.last_words
        self._query = Query(words)
        if first is not None:
            self._first = first, -1, 0
        elif len(self._document):
            self._first = self._document.locate(self._viewport.top)
        self._begin_count()
        return self.standing[1]

    def seek(self, words: str) -> None:
        """Mark all hits and show the first from here on; go back if there is none."""
        if not self._is_away:
            self._is_away = True
            self._viewport.remember("find")
        elif self.place is not None:
            self._fold_again()
            self._viewport.return_to("find")
        self.find(words)
        self._is_seeking = True
        self._seek()

    def _seek(self) -> None:
        if self._is_seeking and self.standing[1]:
            self._is_seeking = False
            self._show(lambda: self._next(1))

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Mark words, and show the first in the text of a message, else in its reasoning."""
        index = self._document.entries.index_of(message_id)
        if index is not None:
            self.find(*words, first=index)
            self._wanted = ()  # they belong to this session alone
            self._show(partial(self._first_in, index))

    def clear(self) -> None:
        """Stop finding; the view stays where it is."""
        self._forget()
        self._is_away, self._wanted, self._unfolded = False, (), -1
        self._changed()

    def restart(self) -> None:
        """Find again in other messages, unless the words belong to this session alone."""
        wanted = self._wanted
        self.clear()
        if wanted:
            self.find(*wanted)

    # Counting

    def _begin_count(self) -> None:
        """Search the first messages at once, the others between keys and frames."""
        self._counting = self._count_all()
        if self._count_on():
            self._run(self._count_rest)
        self._changed()
        self._told()

    def _count_all(self) -> Iterator[int]:
        """Count the hits of all messages; yield how many characters were searched."""
        count, entries = len(self._document), self._document.entries
        self.counts, self.is_complete = [0] * count, False
        if not self.is_active:
            return
        for index in (*range(self._first[0], count), *range(self._first[0])):
            texts, is_plain = entries.texts(index)
            self.counts[index] = self._likely(texts, is_plain=is_plain)
            yield sum(map(len, texts))
        self.is_complete = True
        self._resolve()

    def _count_on(self) -> bool:
        """Search for a moment; return whether there is more to do."""
        left = SLICE
        for searched in self._counting or ():
            left -= searched
            if left <= 0:
                return True
        self._counting = None
        return False

    async def _count_rest(self) -> None:
        """Count in slices, between keys and frames."""
        while self._counting is not None:
            is_more = self._count_on()
            self._seek()
            if not is_more:
                self._told()
                self._changed()
            await asyncio.sleep(0)

    def _likely(self, texts: Iterable[str], *, is_plain: bool) -> int:
        return sum(self._query.count(text, is_plain=is_plain) for text in texts)

    def recount(self, index: int) -> None:
        """Count the hits of a new or changed message; the current hit stays."""
        entries = self._document.entries
        if not self.is_active or entries[index].is_streaming:
            return
        before = self.standing
        self.counts += [0] * (len(entries) - len(self.counts))
        texts, is_plain = entries.texts(index)
        self.counts[index] = self._likely(texts, is_plain=is_plain)
        if index == self.index:
            self._resolve()
        if self.standing != before:
            self._told()

    def moved(self, by: int) -> None:
        """Search messages that were put before all others."""
        if not self.is_active:
            return
        self._first = self._first[0] + by, *self._first[1:]
        self._unfolded += by if self._unfolded >= 0 else 0
        if self.place is not None:
            self.place = self.place[0] + by, *self.place[1:]
        self._begin_count()

    # Going to hits

    def step(self, by: int) -> tuple[int, int]:
        """Show the next or previous hit; return its number and the number of hits."""
        self._is_away = False
        self._show(partial(self._next, by))
        return self.standing

    def _show(self, go: Callable[[], bool]) -> None:
        """Go to another hit and bring it into view."""
        document, viewport = self._document, self._viewport
        viewport.update_anchor()
        has_hit = go()
        viewport.lay_out()  # what was unfolded, folded and laid out on the way has moved rows
        if has_hit and self.place is not None:
            row = document.position(self.place) - viewport.top
            if not 0 <= row < viewport.height - self._rows_below:
                viewport.scroll_to_place(self.place, viewport.height // 3)
            if viewport.is_following and document.entries[len(document) - 1].is_streaming:
                viewport.stop_following()  # or new text would push the hit away
        self._changed()
        self._told()

    def _resolve(self) -> None:
        """Find again where the current hit is shown."""
        if self.place is not None and not self._go(self.index, self._nth, 1):
            self.place = None

    def _next(self, by: int) -> bool:
        """Go to the next or previous hit, round the end; return whether there is any."""
        count, index, nth = len(self.counts), self.index, self._nth
        if index < 0 and count:
            index, nth = self._first[0], self._hits_above() - (by > 0)
        for distance in range(count + 1 if count else 0):
            at = (index + by * distance) % count
            if distance:
                nth = -1 if by > 0 else _LAST
            if self.counts[at] and self._go(at, nth + by, by):
                return True
        self.place = None
        return False

    def _first_in(self, index: int) -> bool:
        """Go to the first hit in what a message shows, else in what is folded."""
        self._document.build(index)
        return self._go(index, self._folded(self._document.entries[index]), 1) or self._go(
            index, 0, 1
        )

    def _hits_above(self) -> int:
        """Return the hits of the first message above the row from which on they are searched."""
        index, number, row = self._first
        if number < 0 or not self.counts[index]:
            return 0
        above = sum((at, last) < (number, row) for at, _, last, _ in self._hits(index))
        # where nothing is above, folded hits are shown there
        return self._folded(self._document.entries[index]) + above if number or above else 0

    def _go(self, index: int, nth: int, by: int) -> bool:
        """Make the n-th hit of a message the current one, or the next that is shown; False if none is."""
        document, entry = self._document, self._document.entries[index]
        while True:
            hits, folded = self._hits(index), self._folded(entry)
            self.counts[index] = total = folded + len(hits)
            nth = min(nth, total - 1) if by < 0 else nth
            if not 0 <= nth < total:
                return False
            if nth < folded:
                self._fold_again()
                self._refold(index, is_folded=False)
                self._unfolded = index
                continue
            number, row, last, within = hits[nth - folded]
            block = entry.blocks[number]
            if block.lines is not None or document.layout is None:
                break
            document.prepare(index, number)
            if by < 0:  # the source may have promised more than the block shows
                nth += len(self._hits(index)) - len(hits)
        if index != self._unfolded:
            self._fold_again()
        self._nth, self._within, self._rows_below = nth, within, last - row
        self.place = index, number, row
        return True

    def _hits(self, index: int) -> list[tuple[int, int, int, int]]:
        """Return block, first row, last row and number in the block of all hits that a message shows."""
        hits: list[tuple[int, int, int, int]] = []
        for number in range(self._document.build(index)):
            entry = self._document.entries[index]
            block, places = entry.blocks[number], dict[int, list[int]]()
            for row, found in enumerate(
                self._rows(block), entry.heights[number] - len(block.lines or ())
            ):
                for _, _, nth in found:
                    places.setdefault(nth, []).append(row)
            hits += [(number, rows[0], rows[-1], nth) for nth, rows in sorted(places.items())]
        return hits

    def _rows(self, block: Block) -> list[Row]:
        """Return the hits in a block by its rows; a hit that is wrapped is in both rows.

        Before it is laid out, they are those of its source, all in one row.
        """
        if not block.source:
            return []
        if block.lines is None:
            count = self._query.count(block.source, is_plain=block.kind in _AS_WRITTEN)
            return [[(0, 0, nth) for nth in range(count)]]
        known = self._known.get(id(block))
        if known is None or known[1] is not block.lines:
            if len(self._known) > _KEPT_BLOCKS:
                self._known.clear()
            known = self._known[id(block)] = block, block.lines, _hits_in(self._query, block.lines)
        return known[2]

    def _fold_again(self) -> None:
        """Fold what was unfolded for a hit."""
        index, self._unfolded = self._unfolded, -1
        if 0 <= index < len(self._document) and not self._document.entries[index].is_folded:
            self._refold(index, is_folded=True)

    def _refold(self, index: int, *, is_folded: bool) -> None:
        self._document.entries[index].is_folded = is_folded
        self._document.rebuild(index)

    def _folded(self, entry: Entry) -> int:
        """Return the number of hits in folded text."""
        message = entry.message
        if message is None or not entry.is_folded or entry.is_source:
            return 0
        if message.role is Role.ASSISTANT:
            thoughts = (part.text for part in entry.parts if part.kind is ReasoningPart)
            return self._likely(thoughts, is_plain=False)
        texts = [message.text]
        if message.role is Role.TOOL:
            texts = [text for _, text, _ in call_texts(message)]
        elif message.role is Role.USER:
            texts = [
                piece.text for piece in split_files(message.text) if isinstance(piece, AttachedFile)
            ]
        return self._likely(texts, is_plain=True)
