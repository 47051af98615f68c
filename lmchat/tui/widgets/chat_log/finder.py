"""Find in the messages of a log: how many hits there are, and where each is shown."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from lmchat.domain.message import AttachedFile, ReasoningPart, Role, pieces_of
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line
from lmchat.tui.widgets.chat_log.document import Document, Place, together
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.matching import Query

Row = list[tuple[int, int, int]]
"""Where hits begin and end in a row, and their numbers in the block."""
Rows = list[Row]
Piece = tuple[int, int, str, str]
"""A row, where in it a text begins, the text, and what stands between it and the next piece."""
CARRIED = -1
"""The number of a hit that begins in the block before."""


def hits_in(lines: Sequence[Line], query: Query, *, carried: int = 0, given: int = 0) -> tuple[Rows, int]:
    """Return the hits row by row, and how many there are; several rows may be one line of text.

    So many characters at the beginning are the end of a hit that is `carried` over from the block before; so
    many at the end are `given` to one that goes on in the next block.
    """
    rows: Rows = [[] for _ in lines]
    count = 0
    texts = list(texts_in(lines))
    for number, pieces in enumerate(texts):
        text = "".join(words + tail for _, _, words, tail in pieces)
        start = carried if number == 0 else 0
        stop = len(text) - (given if number == len(texts) - 1 else 0)
        if start:
            _put(rows, pieces, (0, start, CARRIED))
        for first, last in query.spans(text[start:stop]):
            _put(rows, pieces, (first + start, last + start, count))
            count += 1
        if stop < len(text):
            _put(rows, pieces, (stop, len(text), count))
            count += 1
    return rows, count


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


def _put(rows: Rows, pieces: Sequence[Piece], hit: tuple[int, int, int]) -> None:
    """Put a hit into its rows; one that goes over the end of a row is in both."""
    first, last, nth = hit
    at = 0
    for row, start, words, tail in pieces:
        begin, end = max(first - at, 0), min(last - at, len(words))
        if begin < end:
            rows[row].append((start + begin, start + end, nth))
        at += len(words) + len(tail)
        if at >= last:
            return


_KEPT_BLOCKS = 400
"""Blocks whose hits are kept as they stand in their rows."""
_AS_WRITTEN = (Kind.FENCE, Kind.PLAIN, Kind.MADE)
"""Kinds of blocks that show their source as it is."""


class BlockHits:
    """Hits of one query. One that goes over the cut between two blocks belongs to the first of them."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._exact: dict[int, tuple[Block, int, int]] = {}
        self._rows: dict[int, tuple[list[Line], int, int, Rows, int]] = {}
        self._edges: dict[int, tuple[Block, int, str, str]] = {}

    def is_exact(self, entry: Entry, number: int) -> bool:
        """Whether it is known what a block shows."""
        return self._known(entry, number) is not None

    def likely(self, entry: Entry, number: int) -> int:
        """Return how many hits a block shows, by its source as long as it was not looked at."""
        return self._counts(entry, number)[0]

    def may_show(self, entry: Entry, number: int) -> bool:
        """Whether a block has hits at all, be it in markup."""
        return any(self._counts(entry, number))

    def _counts(self, entry: Entry, number: int) -> tuple[int, int]:
        """Return how many hits a block is likely to show, and how many are in its source."""
        known = self._known(entry, number)
        if known is not None:
            return known, known
        block = entry.blocks[number]
        if not block.source:
            return 0, 0
        is_plain = block.kind in _AS_WRITTEN
        likely, most = self._query.counts(block.source, is_plain=is_plain)
        follower = following(entry, number)
        if follower is not None:
            reach = self._query.reach
            texts = block.source[-reach:], follower.source[:reach]
            both, first, last = (
                self._query.counts(text, is_plain=is_plain)[0] for text in ("".join(texts), *texts)
            )
            likely += max(both - first - last, 0)
        return likely, most

    def likely_sum(self, entry: Entry, start: int = 0, stop: int | None = None) -> int:
        """Return how many hits some blocks show together."""
        numbers = range(start, len(entry.blocks) if stop is None else stop)
        return sum(self.likely(entry, number) for number in numbers)

    def looked_at(self, layout: Layout | None, entry: Entry, number: int) -> int:
        """Return how many hits a block shows that is laid out, and remember it."""
        count = self.found(layout, entry, number)[1]
        self._exact[id(entry.blocks[number])] = entry.blocks[number], count, _size_behind(entry, number)
        return count

    def _known(self, entry: Entry, number: int) -> int | None:
        block = entry.blocks[number]
        known = self._exact.get(id(block))
        return known[1] if known is not None and known[2] == _size_behind(entry, number) else None

    def found(self, layout: Layout | None, entry: Entry, number: int) -> tuple[Rows, int]:
        """Return the hits by rows of a block that is laid out, and how many it has."""
        block = entry.blocks[number]
        lines = block.lines or []
        carried, given = self._shared(layout, entry, number)
        known = self._rows.get(id(block))
        if known is not None and known[0] is lines and known[1:3] == (carried, given):
            return known[3:]
        rows, count = hits_in(lines, self._query, carried=carried, given=given)
        if len(self._rows) > _KEPT_BLOCKS:
            self._rows.clear()
            self._edges.clear()
        self._rows[id(block)] = lines, carried, given, rows, count
        return rows, count

    def above(self, layout: Layout | None, entry: Entry, number: int, row: int) -> int:
        """Return how many hits a block that is laid out has before the first one from a row on."""
        rows, count = self.found(layout, entry, number)
        line = max(row - (entry.heights[number] - len(rows)), 0)
        return min((nth for found in rows[line:] for _, _, nth in found if nth != CARRIED), default=count)

    def folded_away(self, layout: Layout | None, entry: Entry) -> int:
        """Return how many hits are in what a message only tells of."""
        message = entry.message
        if not self._query.needles or message is None or not entry.is_folded or entry.is_source:
            return 0
        if message.role is Role.SYSTEM:
            return self._query.counts(message.text, is_plain=True)[0]
        if message.role is Role.USER:
            files = (piece for piece in pieces_of(message.text) if isinstance(piece, AttachedFile))
            return sum(self._query.counts(file.text, is_plain=True)[0] for file in files)
        thoughts = [part.text for part in entry.parts if part.kind is ReasoningPart]
        count, is_sure = likely_in(self._query, thoughts)
        if is_sure or entry.is_open or layout is None:
            return count
        copy = Entry(message, is_folded=False)
        copy.build_whole()
        return self.shown(layout, copy, is_thought=True)

    def shown(self, layout: Layout, entry: Entry, *, is_thought: bool | None = None) -> int:
        """Return how many hits a message shows whose blocks are not kept."""
        count = 0
        for number, block in enumerate(entry.blocks):
            if is_thought in (None, block.is_thought) and self.may_show(entry, number):
                block.lines = layout.lines(block, entry.references)
                carried, given = self._shared(layout, entry, number)
                count += hits_in(block.lines, self._query, carried=carried, given=given)[1]
        return count

    def _shared(self, layout: Layout | None, entry: Entry, number: int) -> tuple[int, int]:
        """Return what a hit of the block before takes of one, and what it shares with the next."""
        carried = given = 0
        if number and following(entry, number - 1) is not None:
            before = self._edge(layout, entry, number - 1)[1]
            carried = self._query.across(before, self._edge(layout, entry, number)[0])[1]
        if following(entry, number) is not None:
            after = self._edge(layout, entry, number + 1)[0]
            given = self._query.across(self._edge(layout, entry, number)[1], after)[0]
        return carried, given

    def _edge(self, layout: Layout | None, entry: Entry, number: int) -> tuple[str, str]:
        """Return how the text of a block begins, and how it ends."""
        block = entry.blocks[number]
        known = self._edges.get(id(block))
        if known is not None and known[1] == len(block.source):
            return known[2:]
        lines = block.lines
        if lines is None:
            lines = layout.lines(block, entry.references) if layout else []
        texts = ["".join(words + tail for _, _, words, tail in pieces) for pieces in texts_in(lines)] or [""]
        first, last = texts[0][: self._query.reach], texts[-1][-self._query.reach :]
        self._edges[id(block)] = block, len(block.source), first, last
        return first, last


def following(entry: Entry, number: int) -> Block | None:
    """Return the block that goes on with the last line of another; None where it ends there."""
    blocks = entry.blocks
    return blocks[number + 1] if blocks[number].goes_on and number + 1 < len(blocks) else None


def _size_behind(entry: Entry, number: int) -> int:
    follower = following(entry, number)
    return 0 if follower is None else len(follower.source)


def likely_in(query: Query, texts: Iterable[str], *, is_plain: bool = False) -> tuple[int, bool]:
    """Return how many hits some texts are likely to show, and whether that is sure."""
    counts = [query.counts(text, is_plain=is_plain) for text in texts]
    likely, most = sum(count for count, _ in counts), sum(count for _, count in counts)
    return likely, likely == most


SMALL_CHARS = 20_000
"""All hits of such a message are counted as shown when one of them is; of a longer one, block by block."""
_FEW_CHARS = 100_000
"""Where messages with hits are no longer than this together, all are counted as they are shown."""
_FEW_DOUBTS_CHARS = 300_000
"""Where more messages have hits, those are whose markup has hits, too, if they are no longer than this."""
_LAYOUT_COST = 20
"""To lay a text out costs so many times what it costs to look through its source."""
_LAST = 1 << 40
_HIDDEN = -1

Mark = tuple[int, int, bool]
"""First character in a line, the one behind the last, and whether it is the hit that is shown."""


class Finder:
    """Counts hits, first in the source of each message, then as they are shown; goes from one to the next.

    What the log itself says (receipts, states, cards) is not looked through.
    """

    def __init__(self) -> None:
        self.query: Query | None = None
        self.words: tuple[str, ...] = ()
        """What is looked for, as it was typed."""
        self.counts: list[int] = []
        """Hits of each message: those that its source is likely to show, until it was looked at."""
        self.is_whole = False
        """Whether all messages were counted."""
        self.is_hidden = False
        """Whether the current hit is folded away."""
        self.place: Place | None = None
        """Row of the current hit; None where there is none."""
        self.rows_below = 0
        """On how many more rows it goes on."""
        self._first = 0
        self._at = -1, 0
        self._index, self._nth = -1, -1
        self._now: tuple[Block, int] | None = None
        self._now_behind: Block | None = None
        self._grown = -1, 0, 0
        self._doubts: set[int] = set()
        self._hits = BlockHits(Query(()))

    @property
    def is_sure(self) -> bool:
        """Whether the counts are those of what is shown, and none an estimate by the source alone."""
        return not self._doubts

    @property
    def is_active(self) -> bool:
        """Whether there is something to find."""
        return self.query is not None

    @property
    def standing(self) -> tuple[int, int]:
        """The number of the hit that is shown, 0 for none, and how many there are."""
        number = sum(self.counts[: self._index]) + self._nth + 1 if self.place else 0
        return number, sum(self.counts)

    @property
    def index(self) -> int:
        """The message of the current hit, -1 for none."""
        return self._index if self.place else -1

    def clear(self) -> None:
        """Find nothing any more."""
        self.__init__()  # type: ignore[misc]

    def find(
        self, document: Document, words: Iterable[str], *, first: int, at: tuple[int, int] = (-1, 0)
    ) -> Generator[int]:
        """Count the hits of all messages, from the message `first` on; yield what each step has cost.

        The first hit to go to is one from the block and row `at` on, which one reads in that message.
        """
        self.clear()
        query = Query(words := tuple(words))
        if query.needles:
            self.query, self.words, self._first, self._at = query, words, first, at
            self._hits = BlockHits(query)
        return self._count_all(document, query, first)

    def count_again(self, document: Document) -> Generator[int]:
        """Count the hits of all messages, while the current one stays where it is."""
        if self.query is None:
            return self._count_all(document, Query(()), 0)
        return self._count_all(document, self.query, self._first)

    def _count_all(self, document: Document, query: Query, first: int) -> Generator[int]:
        self.counts, self.is_whole, self._doubts = [0] * len(document), False, set()
        if not query.needles:
            return
        sizes: dict[int, int] = {}
        doubts: dict[int, int] = {}
        for some in together(document.entries.searched(first)):
            size = sum(len(text) for _, texts, _ in some for text in texts)
            if query.may_be_in("\0".join(text for _, texts, _ in some for text in texts)):
                for index, texts, is_plain in some:
                    self.counts[index], is_sure = likely_in(query, texts, is_plain=is_plain)
                    if self.counts[index] or not is_sure:
                        sizes[index] = sum(map(len, texts))
                        doubts |= {} if is_sure else {index: sizes[index]}
            yield size + _LAYOUT_COST * len(some)
        if sum(sizes.values()) > _FEW_CHARS:
            are_few = sum(doubts.values()) <= _FEW_DOUBTS_CHARS
            sizes, self._doubts = (doubts, set()) if are_few else ({}, {*doubts})
        for index, size in sizes.items():
            self.counts[index] = self._as_shown(document, index)
            yield size * _LAYOUT_COST
        self.is_whole = True
        self.resolve(document)

    def _as_shown(self, document: Document, index: int) -> int:
        """Return how many hits a message shows, without making it a part of the log."""
        entry = document.entries[index]
        if entry.message is None or entry.is_open or document.layout is None or index == self.index:
            return self.counts[index]
        copy = Entry(entry.message, is_folded=False, is_source=entry.is_source)
        copy.build_whole()
        return self._hits.shown(document.layout, copy)

    def has_hit(self, index: int) -> bool:
        """Whether a message holds what is to be found."""
        return index < len(self.counts) and self.counts[index] > 0

    def move(self, by: int) -> None:
        """Say that so many messages were put before all others."""
        self.counts[:0] = [0] * by
        self._first += by
        if self._index >= 0:
            self._index += by
        if self.place is not None:
            self.place = self.place[0] + by, *self.place[1:]

    def recount(self, document: Document, index: int) -> None:
        """Count the hits of one message that is new, or changed; the current one stays with its words."""
        self._grown = -1, 0, 0
        if self.query is None or not document.is_read(index):
            return
        self.counts += [0] * (len(document) - len(self.counts))
        if index == self.index:
            if not self._settle(document, index, self._nth, 1):
                self.place = self._now = None
            return
        entry = document.entries.known(index)
        if entry is not None and entry.is_built:
            self.counts[index] = self._hits.folded_away(document.layout, entry) + self._hits.likely_sum(entry)
        else:
            texts, is_plain = document.entries.texts(index), document.entries.is_plain(index)
            self.counts[index] = likely_in(self.query, texts, is_plain=is_plain)[0]

    def grown(self, document: Document, index: int, start: int) -> None:
        """Count the hits of an answer again that has grown from a block on."""
        if self.query is None or index >= len(self.counts) or not document.is_read(index):
            return
        entry = document.entries[index]
        if self._grown[0] != index or self._grown[1] > start:
            self._grown = index, 0, 0
        _, known, count = self._grown
        count += self._hits.likely_sum(entry, known, start)
        self._grown = index, start, count
        self.counts[index] = count + self._hits.likely_sum(entry, start)
        self.counts[index] += self._hits.folded_away(document.layout, entry)
        if index == self.index and self.place is not None and self.place[1] >= start:
            self.resolve(document)

    def step(self, document: Document, by: int) -> bool:
        """Go to the next or previous hit; return whether there is any."""
        index, nth = self._index, self._nth
        if index < 0:
            index, nth = self._first, self._above(document) - (by > 0)
        for _ in range(len(self.counts) + 2):
            if self.has_hit(index) and self._settle(document, index, nth + by, by):
                return True
            following = self._neighbour(index, by)
            if following is None:
                break
            index, nth = following, -1 if by > 0 else _LAST
        self._index, self.place, self._now = -1, None, None
        return False

    def _above(self, document: Document) -> int:
        """Return how many hits of the first message stand above the row from which on they are looked for."""
        number, row = self._at
        if not (self.has_hit(self._first) and 0 <= number < len(document.entries[self._first].blocks)):
            return 0
        parts, entry, within = self._inside(document, self._first), document.entries[self._first], 0
        if entry.blocks[number].source:
            self._shown(document, self._first, number)
            within = self._hits.above(document.layout, entry, number, row)
        if not (number or within):
            return 0  # what is folded is shown there
        return sum(count for place, count in parts if place < number) + within

    def go_to(self, document: Document, index: int) -> bool:
        """Go to the first hit that a message has said, or else has thought; return whether there is any."""
        if not self.has_hit(index):
            return False
        folded_away = self._inside(document, index)[0][1]
        return self._settle(document, index, folded_away, 1) or self._settle(document, index, 0, 1)

    def resolve(self, document: Document) -> None:
        """Find out anew where the current hit is shown."""
        if self._index >= 0 and document.is_read(self._index):
            self._settle(document, self._index, self._nth, 1)

    def _neighbour(self, index: int, by: int) -> int | None:
        """Return the next message with hits, round the end; it may be the same."""
        count = len(self.counts)
        places = (place % count for place in range(index + by, index + by * (count + 1), by))
        return next((place for place in places if self.counts[place]), None)

    def _settle(self, document: Document, index: int, nth: int, by: int) -> bool:
        """Make the n-th hit of a message the current one, or the next that is there; False where none is."""
        while True:
            parts = self._inside(document, index)
            self.counts[index] = total = sum(count for _, count in parts)
            nth = total - 1 if nth >= _LAST - 1 else nth
            if not 0 <= nth < total:
                return False
            before, number = 0, _HIDDEN
            for number, count in parts:  # noqa: B007 - the one that holds it
                if nth < before + count:
                    break
                before += count
            if number == _HIDDEN or nth - before < self._shown(document, index, number):
                self._take(document, (index, number), nth, nth - before)
                return True
            # its source promised more than a block shows
            nth = before + self._shown(document, index, number) - (by < 0)

    def _take(self, document: Document, at: tuple[int, int], nth: int, within: int) -> None:
        """Remember the current hit: the n-th of its message, and so many hits of its block are before it."""
        self._index, number = at
        self._nth, self.is_hidden = nth, number == _HIDDEN
        self.place, self._now, self._now_behind = (self._index, 0, 0), None, None
        if not self.is_hidden:
            entry = document.entries[self._index]
            block, (rows, count) = entry.blocks[number], self._hits.found(document.layout, entry, number)
            seen = [row for row, found in enumerate(rows) for _, _, one in found if one == within]
            row = seen[0] if seen else 0  # where nothing is laid out yet, it is where the block is
            self.rows_below = seen[-1] - row if seen else 0
            self.place = self._index, number, row + entry.heights[number] - len(rows)
            self._now = block, within
            self._now_behind = following(entry, number) if within == count - 1 else None
            self.rows_below += self._now_behind is not None

    def _shown(self, document: Document, index: int, number: int) -> int:
        """Return how many hits a block shows."""
        entry = document.entries[index]
        document.prepare(index, number)
        if entry.blocks[number].lines is None:
            return self._hits.likely(entry, number)
        return self._hits.looked_at(document.layout, entry, number)

    def _inside(self, document: Document, index: int) -> list[tuple[int, int]]:
        """Return the blocks of a message, what is folded first, with the hits that each is likely to show."""
        entry = document.entries[index]
        document.whole(index)
        is_small = sum(len(block.source) for block in entry.blocks) <= SMALL_CHARS
        if is_small and not entry.is_open:
            self._doubts.discard(index)
        parts = [(_HIDDEN, self._hits.folded_away(document.layout, entry))]
        for number in range(len(entry.blocks)):
            is_known = not is_small or entry.is_open or self._hits.is_exact(entry, number)
            if not is_known and self._hits.may_show(entry, number):
                parts.append((number, self._shown(document, index, number)))
            else:
                parts.append((number, self._hits.likely(entry, number)))
        return parts

    def marks(self, layout: Layout | None, entry: Entry, number: int, row: int) -> Iterator[Mark]:
        """Yield what is to be marked in a row of a block that is laid out; a hit may go over its end."""
        block = entry.blocks[number]
        if self.query is None or not block.source or block.lines is None:
            return
        rows, _ = self._hits.found(layout, entry, number)
        for start, end, nth in rows[row]:
            if nth == CARRIED:
                yield start, end, self._now_behind is block
            else:
                yield start, end, self._now is not None and self._now[0] is block and self._now[1] == nth
