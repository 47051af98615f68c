"""Hits of a search: how many each message has, and on which rows they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from lmchat.domain.attached_files import AttachedFile, split_files
from lmchat.domain.message import ReasoningPart, Role
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.layout.annotations import call_texts
from lmchat.tui.widgets.chat_log.matching import Query

SLICE = 60_000  # characters that are searched at a time, between keys and frames: about 3 ms
_KEPT_BLOCKS = 2_000  # blocks whose hits are remembered
_AS_WRITTEN = (Kind.FENCE, Kind.PLAIN, Kind.MADE)  # kinds of blocks that show their source as it is


class HitSpan(Struct, frozen=True):
    """The part of a hit that is on one row."""

    start: int  # characters of the row before it
    end: int
    within: int  # number of the hit in its block


RowHits = list[HitSpan]


class Hit(Struct, frozen=True):
    """A hit in the text that a message shows."""

    number: int  # block
    first_row: int  # rows of the block, with the blank row above it
    last_row: int
    within: int  # number of the hit in its block


class Fragment(Struct, frozen=True):
    """The part of a wrapped text that is on one row."""

    row: int
    start: int  # characters of the row before it
    words: str
    tail: str  # blanks between it and the next fragment


class Hits:
    """Hits of one search in all messages of a document.

    A message is counted by its source without the markup, in one go over its text. A block of it
    counts as it is shown once it was laid out. What the log adds (receipts, states, cards) is not
    searched.
    """

    def __init__(self, document: Document, words: Iterable[str] = (), first: int = 0) -> None:
        """Create it; messages are counted from `first` on, round the end."""
        self._document = document
        self._query = Query(words)
        self.counts: list[int] = []  # hits of each message; 0 until it was counted
        if self.is_active:
            self.counts = [0] * len(document)
        self.is_complete = False  # whether all messages were counted
        self._uncounted = iter((*range(first, len(document)), *range(first)))
        # rows of blocks that were looked at, valid as long as the blocks have the same lines
        self._known: dict[int, tuple[Block, list[Line], list[RowHits]]] = {}

    @property
    def is_active(self) -> bool:
        return bool(self._query.needles)

    # Counting

    def count_slice(self) -> None:
        """Count the next messages, as many as a key may wait for."""
        if not self.is_active:
            return
        left = SLICE
        for index in self._uncounted:
            left -= self.count(index)
            if left <= 0:
                return
        self.is_complete = True

    def count(self, index: int) -> int:
        """Count the hits of a message; return how many characters were searched."""
        missing = len(self._document) - len(self.counts)
        self.counts += [0] * missing
        texts, is_plain = self._document.entries.texts(index)
        self.counts[index] = self._sum(texts, is_plain=is_plain)
        return sum(map(len, texts))

    def _sum(self, texts: Iterable[str], *, is_plain: bool) -> int:
        return sum(self._query.count(text, is_plain=is_plain) for text in texts)

    def folded(self, index: int) -> int:
        """Return the number of hits in the folded text of a message."""
        entry = self._document.entries[index]
        message = entry.message
        if message is None or not entry.is_folded or entry.is_source:
            return 0
        match message.role:
            case Role.ASSISTANT:
                thoughts = (part.text for part in entry.parts if part.kind is ReasoningPart)
                return self._sum(thoughts, is_plain=False)
            case Role.TOOL:
                texts = [text.text for text in call_texts(message)]
            case Role.USER:
                pieces = split_files(message.text)
                texts = [piece.text for piece in pieces if isinstance(piece, AttachedFile)]
            case _:
                texts = [message.text]
        return self._sum(texts, is_plain=True)

    # Rows

    def shown(self, index: int) -> list[Hit]:
        """Return all hits in what a message shows."""
        hits: list[Hit] = []
        for number in range(self._document.build(index)):
            entry = self._document.entries[index]
            block = entry.blocks[number]
            blank_rows = entry.heights[number] - len(block.lines or ())
            rows: dict[int, list[int]] = {}
            for row, spans in enumerate(self.rows(block), blank_rows):
                for span in spans:
                    rows.setdefault(span.within, []).append(row)
            hits += [Hit(number, rows[nth][0], rows[nth][-1], nth) for nth in sorted(rows)]
        return hits

    def rows(self, block: Block) -> list[RowHits]:
        """Return the hits in a block by its rows; a hit that is wrapped is in both rows.

        Before it is laid out, they are those of its source, all in one row.
        """
        if not block.source:
            return []
        if block.lines is None:
            count = self._query.count(block.source, is_plain=block.kind in _AS_WRITTEN)
            return [[HitSpan(0, 0, within) for within in range(count)]]
        known = self._known.get(id(block))
        if known is None or known[1] is not block.lines:
            if len(self._known) > _KEPT_BLOCKS:
                self._known.clear()
            known = (block, block.lines, _hits_in(self._query, block.lines))
            self._known[id(block)] = known
        return known[2]


def _hits_in(query: Query, lines: Sequence[Line]) -> list[RowHits]:
    rows: list[RowHits] = [[] for _ in lines]
    within = 0
    for fragments in texts_in(lines):
        text = "".join(fragment.words + fragment.tail for fragment in fragments)
        for first, last in query.spans(text):
            before = 0
            for fragment in fragments:
                start = max(first - before, 0)
                end = min(last - before, len(fragment.words))
                if start < end:
                    span = HitSpan(fragment.start + start, fragment.start + end, within)
                    rows[fragment.row].append(span)
                before += len(fragment.words) + len(fragment.tail)
            within += 1
    return rows


def texts_in(lines: Sequence[Line]) -> Iterator[list[Fragment]]:
    """Yield each line of text and each cell of a table as the fragments it is wrapped to."""
    first = 0
    while first < len(lines):
        last = first
        while (lines[last].is_wrapped or lines[last].tails) and last + 1 < len(lines):
            last += 1
        for column in range(len(lines[first].cells) or 1):
            yield [_fragment(lines[row], row, column) for row in range(first, last + 1)]
        first = last + 1


def _fragment(line: Line, row: int, column: int) -> Fragment:
    if not line.cells:
        return Fragment(row, 0, line.text, "")
    start, end = line.cells[column]
    text = line.text[start:end].rstrip()
    words = text.lstrip()
    tail = line.tails[column] if column < len(line.tails) else ""
    return Fragment(row, start + len(text) - len(words), words, tail)
