"""Find in a session: how many hits each message has, where each is shown, and going from one to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from lmchat.domain.message import AttachedFile, ReasoningPart, Role, pieces_of
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line
from lmchat.tui.widgets.chat_log.document import Document, Place, Searched
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.matching import Query
from lmchat.tui.widgets.chat_log.viewport import Viewport

SMALL_CHARS = 20_000
"""All hits of such a message are counted as shown when one of them is; of a longer one, block by block."""
_FEW_CHARS = 300_000
"""Where the markup of messages no longer than this has hits too, these are laid out to be counted."""
_LAYOUT_COST = 20
"""Laying out a text costs so many times what searching its source costs."""
_TOGETHER_CHARS = 30_000
"""Messages are searched together up to this size: most have no hits, which is seen of all at once."""
AT_ONCE = 300_000
"""Characters that are searched before the key that asked for it is done with."""
SLICE = 100_000
"""Characters at a time after that: about 3 ms."""
_KEPT_BLOCKS = 2_000
"""Blocks whose hits are remembered."""
_LAST = 1 << 40
_FOLDED = -1
"""Block number of hits that are folded away."""
_AS_WRITTEN = (Kind.FENCE, Kind.PLAIN, Kind.MADE)
"""Kinds of blocks that show their source as it is."""

Row = list[tuple[int, int, int]]
"""Where hits begin and end in a row, and their numbers in the block."""
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


class _BlockHits:
    """Hits of one query in single blocks: as they are shown, or an estimate by the source."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._shown: dict[int, tuple[Block, list[Line], list[Row], int]] = {}

    def is_exact(self, block: Block) -> bool:
        return id(block) in self._shown

    def likely(self, block: Block) -> int:
        """Return how many hits a block shows; an estimate until it was laid out."""
        return self._counts(block)[0]

    def may_show(self, block: Block) -> bool:
        """Whether a block has hits at all, be it in markup."""
        return any(self._counts(block))

    def _counts(self, block: Block) -> tuple[int, int]:
        """Return how many hits a block is likely to show, and how many are in its source."""
        known = self._shown.get(id(block))
        if known is not None:
            return known[3], known[3]
        return (
            self._query.counts(block.source, is_plain=block.kind in _AS_WRITTEN) if block.source else (0, 0)
        )

    def shown(self, block: Block) -> tuple[list[Row], int]:
        """Return the hits of a block by rows, and how many there are; before it is laid out, an estimate."""
        lines = block.lines
        if lines is None:
            return [], self.likely(block)
        known = self._shown.get(id(block))
        if known is None or known[1] is not lines:
            if len(self._shown) > _KEPT_BLOCKS:
                self._shown.clear()
            known = self._shown[id(block)] = block, lines, *self.hits_in(lines)
        return known[2], known[3]

    def hits_in(self, lines: Sequence[Line]) -> tuple[list[Row], int]:
        """Return the hits by rows, and how many there are; one that goes over the end of a row is in both."""
        rows: list[Row] = [[] for _ in lines]
        count = 0
        for pieces in texts_in(lines):
            for first, last in self._query.spans("".join(words + tail for _, _, words, tail in pieces)):
                at = 0
                for row, start, words, tail in pieces:
                    begin, end = max(first - at, 0), min(last - at, len(words))
                    if begin < end:
                        rows[row].append((start + begin, start + end, count))
                    at += len(words) + len(tail)
                count += 1
        return rows, count


class Finder:
    """Hits of a query in all messages, and which of them is the current one.

    A message is counted by its source, then as it is shown. What the log adds (receipts, states, cards) is
    not searched. An open answer is counted when it ends, or when it is searched again.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self.clear()

    def clear(self) -> None:
        """Find nothing any more."""
        self.query: Query | None = None
        self.counts: list[int] = []
        """Hits of each message; an estimate by its source until it was laid out."""
        self.is_whole = False
        """Whether all messages were counted."""
        self.is_hidden = False
        """Whether the current hit is folded away."""
        self.place: Place | None = None
        """Row of the current hit; None where there is none."""
        self.rows_below = 0
        """On how many more rows it goes on."""
        self._first: Place = (0, -1, 0)
        self._index, self._nth = -1, -1
        self._within = -1
        self._doubts: set[int] = set()
        self._hits = _BlockHits(Query(()))

    @property
    def is_active(self) -> bool:
        """Whether there is something to find."""
        return self.query is not None

    @property
    def is_sure(self) -> bool:
        """Whether no count is an estimate."""
        return not self._doubts

    @property
    def index(self) -> int:
        """The message of the current hit; -1 for none."""
        return self._index if self.place else -1

    @property
    def standing(self) -> tuple[int, int]:
        """The number of the current hit, 0 for none, and how many there are."""
        number = sum(self.counts[: self._index]) + self._nth + 1 if self.place else 0
        return number, sum(self.counts)

    def find(self, words: Iterable[str], first: Place = (0, -1, 0)) -> Generator[int]:
        """Count the hits of all messages; yield what each step has cost, in characters of search.

        The first hit to go to is the first one from the place `first` on.
        """
        self.clear()
        query = Query(words)
        if query.needles:
            self.query, self._first, self._hits = query, first, _BlockHits(query)
        return self.count_again()

    def count_again(self) -> Generator[int]:
        """Count the hits of all messages; the current one stays the same."""
        document, query = self._document, self.query
        self.counts, self.is_whole, self._doubts = [0] * len(document), False, set()
        if query is None:
            return
        doubts: dict[int, int] = {}
        for some in _together(document.entries.searched(self._first[0])):
            all_texts = "\0".join(text for _, texts, _ in some for text in texts)
            if query.may_be_in(all_texts):
                for one in some:
                    self.counts[one[0]], is_sure = self._likely_in(*one[1:])
                    doubts |= {} if is_sure else {one[0]: sum(map(len, one[1]))}
            yield len(all_texts) + _LAYOUT_COST * len(some)
        self._doubts = set(doubts)
        if sum(doubts.values()) <= _FEW_CHARS:
            for index, size in doubts.items():
                self.counts[index] = self._as_shown(index)
                self._doubts.discard(index)
                yield size * _LAYOUT_COST
        self.is_whole = True
        self.resolve()

    def _likely_in(self, texts: Iterable[str], is_plain: bool) -> tuple[int, bool]:
        """Return how many hits texts are likely to show, and whether that is sure."""
        query = self.query or Query(())
        counts = [query.counts(text, is_plain=is_plain) for text in texts]
        likely, most = sum(count for count, _ in counts), sum(count for _, count in counts)
        return likely, likely == most

    def _as_shown(self, index: int) -> int:
        """Return how many hits a message shows, without keeping what is laid out for that."""
        entry = self._document.entries[index]
        if entry.message is None or entry.is_open or index == self.index:
            return self.counts[index]
        return self._hits_in_copy(Entry(entry.message, is_folded=False, is_source=entry.is_source))

    def _hits_in_copy(self, copy: Entry, *, is_thought: bool = False) -> int:
        copy.build_whole()
        layout, hits = self._document.layout, self._hits
        blocks = [block for block in copy.blocks if block.source and (block.is_thought or not is_thought)]
        if layout is None:
            return sum(map(hits.likely, blocks))
        wanted = [block for block in blocks if hits.may_show(block)]
        return sum(hits.hits_in(layout.lines(block, copy.references))[1] for block in wanted)

    def has_hit(self, index: int) -> bool:
        """Whether a message has hits."""
        return index < len(self.counts) and self.counts[index] > 0

    def moved(self, by: int) -> None:
        """Take over that so many messages were put before all others."""
        self.counts[:0] = [0] * by
        self._first = self._first[0] + by, *self._first[1:]
        if self._index >= 0:
            self._index += by
        if self.place is not None:
            self.place = self.place[0] + by, *self.place[1:]

    def recount(self, index: int) -> None:
        """Count the hits of one message that is new, or changed; the current one stays with its words."""
        document = self._document
        if self.query is None or not document.is_read(index):
            return
        self.counts += [0] * (len(document) - len(self.counts))
        if index == self.index:
            if not self._settle(index, self._nth, 1):
                self.place = None
            return
        entry = document.entries.known(index)
        if entry is not None and entry.is_built:
            self.counts[index] = self._folded(entry) + sum(map(self._hits.likely, entry.blocks))
        else:
            self.counts[index] = self._likely_in(*document.entries.search(index)[1:])[0]

    def step(self, by: int) -> bool:
        """Go to the next or previous hit; return whether there is any."""
        index, nth = self._index, self._nth
        if index < 0:
            index, nth = self._first[0], self._hits_above() - (by > 0)
        for _ in range(len(self.counts) + 2):
            if self.has_hit(index) and self._settle(index, nth + by, by):
                return True
            following = self._neighbour(index, by)
            if following is None:
                break
            index, nth = following, -1 if by > 0 else _LAST
        self._index, self.place = -1, None
        return False

    def _hits_above(self) -> int:
        """Return how many hits of the first message are above the row from which on they are searched."""
        index, number, row = self._first
        if not (self.has_hit(index) and 0 <= number < len(self._document.entries[index].blocks)):
            return 0
        parts, entry, within = self._inside(index), self._document.entries[index], 0
        block = entry.blocks[number]
        if block.source:
            count = self._laid_out(index, number)
            rows, _ = self._hits.shown(block)
            below = rows[max(row - (entry.heights[number] - len(rows)), 0) :]
            within = min((nth for found in below for _, _, nth in found), default=count)
        if not (number or within):
            return 0  # folded hits are shown there
        return sum(count for place, count in parts if place < number) + within

    def go_to(self, index: int) -> bool:
        """Go to the first hit in what a message says, else in its reasoning; return whether there is any."""
        if not self.has_hit(index):
            return False
        folded = self._inside(index)[0][1]
        return self._settle(index, folded, 1) or self._settle(index, 0, 1)

    def resolve(self) -> None:
        """Find again where the current hit is shown."""
        if self._index >= 0 and self._document.is_read(self._index):
            self._settle(self._index, self._nth, 1)

    def _neighbour(self, index: int, by: int) -> int | None:
        """Return the next message with hits, round the end; it may be the same."""
        count = len(self.counts)
        places = (place % count for place in range(index + by, index + by * (count + 1), by))
        return next((place for place in places if self.counts[place]), None)

    def _settle(self, index: int, nth: int, by: int) -> bool:
        """Make the n-th hit of a message the current one, or the next that is there; False where none is."""
        while True:
            parts = self._inside(index)
            self.counts[index] = total = sum(count for _, count in parts)
            nth = total - 1 if nth >= _LAST - 1 else nth
            if not 0 <= nth < total:
                return False
            before, number = 0, _FOLDED
            for number, count in parts:  # noqa: B007 - the one that holds it
                if nth < before + count:
                    break
                before += count
            if number == _FOLDED or nth - before < self._laid_out(index, number):
                self._take(index, number, nth, nth - before)
                return True
            # the source promised more than the block shows
            nth = before + self._laid_out(index, number) - (by < 0)

    def _take(self, index: int, number: int, nth: int, within: int) -> None:
        """Remember the current hit: the n-th of its message, with `within` hits of its block before it."""
        self._index, self._nth, self._within = index, nth, within
        self.is_hidden = number == _FOLDED
        self.place, self.rows_below = (index, 0, 0), 0
        if not self.is_hidden:
            entry = self._document.entries[index]
            rows, _ = self._hits.shown(entry.blocks[number])
            seen = [row for row, found in enumerate(rows) for _, _, one in found if one == within]
            row = seen[0] if seen else 0  # before anything is laid out, the first one of the block
            self.rows_below = seen[-1] - row if seen else 0
            self.place = index, number, row + entry.heights[number] - len(rows)

    def _laid_out(self, index: int, number: int) -> int:
        """Return how many hits a block shows."""
        block = self._document.entries[index].blocks[number]
        self._document.prepare(index, number)
        return self._hits.shown(block)[1]

    def _inside(self, index: int) -> list[tuple[int, int]]:
        """Return the blocks of a message, folded text first, with the hits that each is likely to show."""
        document = self._document
        entry = document.entries[index]
        document.whole(index)
        is_small = sum(len(block.source) for block in entry.blocks) <= SMALL_CHARS and not entry.is_open
        if is_small:
            self._doubts.discard(index)
        parts = [(_FOLDED, self._folded(entry))]
        for number, block in enumerate(entry.blocks):
            if is_small and not self._hits.is_exact(block) and self._hits.may_show(block):
                parts.append((number, self._laid_out(index, number)))
            else:
                parts.append((number, self._hits.likely(block)))
        return parts

    def _folded(self, entry: Entry) -> int:
        """Return how many hits are in folded text of a message."""
        message = entry.message
        if self.query is None or message is None or not entry.is_folded or entry.is_source:
            return 0
        if message.role is Role.SYSTEM:
            return self._likely_in([message.text], is_plain=True)[0]
        if message.role is Role.USER:
            files = [piece.text for piece in pieces_of(message.text) if isinstance(piece, AttachedFile)]
            return self._likely_in(files, is_plain=True)[0]
        thoughts = [part.text for part in entry.parts if part.kind is ReasoningPart]
        count, is_sure = self._likely_in(thoughts, is_plain=False)
        if is_sure or entry.is_open:
            return count
        return self._hits_in_copy(Entry(message, is_folded=False), is_thought=True)

    def marks(self, place: Place, block: Block, row: int) -> Iterator[Mark]:
        """Yield what is to be marked in a row of a block that is laid out."""
        if self.query is None or not block.source or block.lines is None:
            return
        is_here = self.place is not None and not self.is_hidden and self.place[:2] == place[:2]
        for start, end, nth in self._hits.shown(block)[0][row]:
            yield start, end, is_here and nth == self._within


def _together(messages: Iterable[Searched]) -> Iterator[list[Searched]]:
    """Yield some messages at a time."""
    some: list[Searched] = []
    size = 0
    for one in messages:
        some.append(one)
        size += sum(map(len, one[1]))
        if size > _TOGETHER_CHARS:
            yield some
            some, size = [], 0
    if some:
        yield some


class HitNavigator:
    """Goes from hit to hit: scrolls there, unfolds what hides a hit, and folds it again.

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
        self._counting: Generator[int] | None = None
        self._is_seeking = False
        self._wanted: tuple[str, ...] = ()
        self._was_following: bool | None = None
        self._unfolded = -1

    def find(self, *words: str, first: int | None = None) -> int:
        """Mark all hits; return how many there are as far as was searched by now."""
        viewport = self._viewport
        self._is_seeking = False
        viewport.give_up_waiting()
        self._wanted = words
        self.last_words = words if any(words) else self.last_words
        place = (first or 0, -1, 0)
        if first is None and len(self._document):
            place = self._document.locate(viewport.top)
        self._begin_count(self._finder.find(words, place))
        return self._finder.standing[1]

    def mark_words(self, message_id: str, words: Sequence[str]) -> None:
        """Mark words, and show the first that a message has said, or else has thought."""
        index = self._document.entries.place(message_id)
        if index is None:
            return
        self.find(*words, first=index)
        self._wanted = ()  # they belong to this session alone
        self._viewport.when_read(partial(self._show_words, message_id))

    def _show_words(self, message_id: str) -> None:
        index = self._document.entries.place(message_id)
        if index is not None:
            self._show_hit(has_hit=self._finder.go_to(index))
            self._unfolded = -1

    def seek(self, words: str) -> None:
        """Mark all hits and show the first one from here on; go back where there is none."""
        if self._was_following is None:
            self._was_following = self._viewport.is_following
            self._viewport.keep("before find")
        elif self._finder.place is not None:
            self._go_back()
        self.find(words)
        self._is_seeking = True
        self._seek()
        self._told()

    def _seek(self) -> None:
        if self._is_seeking and self._finder.standing[1]:
            self._is_seeking = False
            self._step()

    def _go_back(self) -> None:
        """Show what was shown before hits were gone to."""
        anchor = self._viewport.kept.get("before find")
        self._fold_again(-1)
        if self._was_following or anchor is None:
            self._viewport.follow()
        else:
            self._viewport.show_anchor(anchor)
        self._changed()

    def clear(self) -> None:
        """Mark hits no more; the view stays where it is."""
        self._finder.clear()
        self._viewport.give_up_waiting()
        self._counting, self._unfolded, self._is_seeking, self._wanted = None, -1, False, ()
        self._forget_before()
        self._changed()

    def _forget_before(self) -> None:
        self._was_following = None
        self._viewport.kept.pop("before find", None)

    def step(self, by: int) -> tuple[int, int]:
        """Show the next or previous hit; return its number and how many there are."""
        self._forget_before()
        self._step(by)
        self._told()
        return self._finder.standing

    def _step(self, by: int = 1) -> None:
        self._viewport.when_read(partial(self._step_now, by))

    def _step_now(self, by: int) -> None:
        has_hit = self._finder.step(by)
        self._viewport.lay_out()  # the heights on the way were estimates
        self._show_hit(has_hit=has_hit)
        self._told()

    def _show_hit(self, *, has_hit: bool) -> None:
        """Bring the current hit into view, and unfold what it is in."""
        finder, document, viewport = self._finder, self._document, self._viewport
        if has_hit:
            index = finder.index
            was = self._row_of(finder.place)
            is_moved = self._fold_again(index)
            if finder.is_hidden:
                document.entries[index].is_folded = False
                document.rebuild(index)
                self._unfolded, is_moved = index, True
                if not document.is_read(index):
                    viewport.wait_for(index, None, partial(self._show_hit, has_hit=True))
                    return
                finder.recount(index)
            if finder.place is None:
                return
            if not 0 <= was < viewport.height - finder.rows_below:
                viewport.show_at(finder.place, viewport.height // 3)
            elif is_moved:
                viewport.show_at(finder.place, was)
            if viewport.is_following and document.entries[len(document) - 1].is_open:
                viewport.leave_end()  # or new text would push the hit away
        self._changed()

    def _row_of(self, place: Place | None) -> int:
        return -1 if place is None else self._document.position(place) - self._viewport.top

    def _fold_again(self, index: int) -> bool:
        """Fold what was unfolded for a hit, unless the next one is there too; return whether it was."""
        was, self._unfolded = self._unfolded, index if index == self._unfolded else -1
        if was in (-1, index) or was >= len(self._document) or self._document.entries[was].is_folded:
            return False
        self._document.entries[was].is_folded = True
        self._document.rebuild(was)
        self._finder.recount(was)
        return True

    def _begin_count(self, counting: Generator[int]) -> None:
        """Search the first messages at once, the others between keys and frames."""
        self._counting = counting
        if self._count_on(AT_ONCE):
            self._run(partial(self._count_rest, counting))
        self._changed()

    def _count_on(self, chars: int) -> bool:
        """Search so many characters; return whether there is more to do."""
        if self._counting is not None:
            for cost in self._counting:
                chars -= cost
                if chars <= 0:
                    return True
            self._counting = None
        return False

    async def _count_rest(self, counting: Generator[int]) -> None:
        """Give way to keys and frames after each slice; another search ends this one."""
        while self._counting is counting:
            is_more, was = self._count_on(SLICE), self._finder.place
            self._seek()
            if self._finder.place is not was or not is_more:
                self._told()
            if not is_more:
                self._changed()
                return
            await asyncio.sleep(0)

    def recount(self, index: int) -> None:
        """Count the hits of a changed message again."""
        before = self._finder.standing
        if self._finder.is_active and not self._document.entries[index].is_open:
            self._finder.recount(index)
        if self._finder.standing != before:
            self._told()

    def take_other_messages(self) -> None:
        """Look for the same words in other messages."""
        self._forget_before()
        self._unfolded = -1
        if self._wanted:
            self.find(*self._wanted)
            self._told()
        else:
            self.clear()

    def moved(self, by: int) -> None:
        """Search messages that were put before all others."""
        if self._unfolded >= 0:
            self._unfolded += by
        if self._finder.is_active:
            self._finder.moved(by)
            self._begin_count(self._finder.count_again())
            self._told()
