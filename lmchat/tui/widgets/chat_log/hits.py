"""Hits of a search: how many each message has, and on which rows they are shown.

A hit that is wrapped, or in a cell of a table, is on several rows: it has a `HitSpan` on each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from lmchat.sessions.attached_files import AttachedFile, split_files
from lmchat.sessions.message import ReasoningPart, Role
from lmchat.tui.widgets.chat_log.blocks import AS_WRITTEN, Block, Line
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.layout.annotations import call_texts
from lmchat.tui.widgets.chat_log.matching import Query

SLICE = 60_000  # characters that are searched at a time, between keys and frames: about 3 ms
_KEPT_BLOCKS = 2_000  # blocks whose hits are remembered


class HitSpan(Struct, frozen=True):
    """The part of a hit that is on one row."""

    start: int  # characters of the row before it
    end: int
    nth_in_block: int  # index of the hit in its block


RowHits = list[HitSpan]


class Hit(Struct, frozen=True):
    """A hit in the text that a message shows."""

    number: int  # block
    first_row: int  # row in the block; a blank row above the block is row 0
    last_row: int
    nth_in_block: int  # index of the hit in its block


class Fragment(Struct, frozen=True):
    """The part of a wrapped text that is on one row."""

    row: int  # index of the line in its block
    start: int  # characters of the row before it
    words: str  # the text; in a table, without the padding of its cell
    tail: str  # in a table, what is between it and the next fragment of its cell


class CachedHits(Struct, frozen=True):
    """The hits in a block, valid as long as the block has the same list of lines."""

    block: Block  # kept, so that no other block gets its `id`
    lines: list[Line]
    rows: list[RowHits]  # hits of each line


class Hits:
    """Hits of one search in all messages of a document.

    At first, hits of a message are counted in its source without the markup, which is fast. In
    blocks that are laid out, the hits are those in the shown text. `Finder` sets the count of a
    message to these when it goes to one of them. What the log adds (stats, states, cards) is not
    searched.
    """

    def __init__(self, document: Document, words: Iterable[str] = (), first: int = 0) -> None:
        """Create it; messages are counted from index `first` to the last one, then those before.

        Without words, it is not active, and counts nothing.
        """
        self._document = document
        self._query = Query(words)
        self.counts: list[int] = []  # hits of each message; 0 until it was counted
        if self.is_active:
            self.counts = [0] * len(document)
        self.is_complete = False  # whether all messages were counted
        self._uncounted = iter((*range(first, len(document)), *range(first)))
        self._cached: dict[int, CachedHits] = {}  # by `id(block)`

    @property
    def is_active(self) -> bool:
        return bool(self._query.needles)

    # Counting

    def count_slice(self) -> None:
        """Count the hits of the next messages, until about `SLICE` characters were searched.

        If no message is left, set `is_complete`.
        """
        if not self.is_active:
            return
        chars_left = SLICE
        for index in self._uncounted:
            chars_left -= self.count(index)
            if chars_left <= 0:
                return
        self.is_complete = True

    def count(self, index: int) -> int:
        """Set `counts[index]` to the hits in all texts of a message, shown or not.

        Return how many characters were searched.
        """
        added = len(self._document) - len(self.counts)  # messages since the search began
        self.counts += [0] * added
        texts, is_plain = self._document.entries.texts(index)
        self.counts[index] = self._count_in(texts, is_plain=is_plain)
        return sum(map(len, texts))

    def _count_in(self, texts: Iterable[str], *, is_plain: bool) -> int:
        return sum(self._query.count(text, is_plain=is_plain) for text in texts)

    def count_folded(self, index: int) -> int:
        """Return the number of hits in the text that a message hides because it is folded.

        That text is the reasoning of an answer, the arguments and the result of a call, the files
        in a prompt, or a system prompt. A notice hides nothing, nor does a message as source. An
        answer must be cut into blocks before: its reasoning is known only then.
        """
        entry = self._document.entries[index]
        message = entry.message
        if message is None or not entry.is_folded or entry.is_source:
            return 0
        match message.role:
            case Role.ASSISTANT:
                thoughts = (part.text for part in entry.parts if part.kind is ReasoningPart)
                return self._count_in(thoughts, is_plain=False)
            case Role.TOOL:
                texts = [text.text for text in call_texts(message)]
            case Role.USER:
                pieces = split_files(message.text)
                texts = [piece.text for piece in pieces if isinstance(piece, AttachedFile)]
            case _:
                texts = [message.text]
        return self._count_in(texts, is_plain=True)

    # Rows

    def shown_hits(self, index: int) -> list[Hit]:
        """Return all hits in the blocks of a message, in order.

        The message is cut into blocks if it was not. Of a block that is not laid out, the hits in
        its source are returned; their rows have no meaning.
        """
        hits: list[Hit] = []
        block_count = self._document.build(index)
        for number in range(block_count):
            entry = self._document.entries[index]
            block = entry.blocks[number]
            blank_rows = entry.heights[number] - len(block.lines or ())
            first_rows: dict[int, int] = {}  # by the index of the hit in the block
            last_rows: dict[int, int] = {}
            for row, spans in enumerate(self.hits_by_row(block), blank_rows):
                for span in spans:
                    first_rows.setdefault(span.nth_in_block, row)
                    last_rows[span.nth_in_block] = row
            hits += [
                Hit(number, first_rows[nth], last_rows[nth], nth) for nth in sorted(first_rows)
            ]
        return hits

    def hits_by_row(self, block: Block) -> list[RowHits]:
        """Return a list of spans for each line of a block; a wrapped hit has a span on each line.

        Of a block that is not laid out, the hits in its source are returned as those of one line,
        at place 0. What the log adds has no source, and the list is empty.
        """
        if not block.source:
            return []
        if block.lines is None:
            count = self._query.count(block.source, is_plain=block.kind in AS_WRITTEN)
            return [[HitSpan(0, 0, nth) for nth in range(count)]]
        cached = self._cached.get(id(block))
        if cached is None or cached.lines is not block.lines:
            if len(self._cached) > _KEPT_BLOCKS:
                self._cached.clear()
            rows = _hits_in_lines(self._query, block.lines)
            cached = CachedHits(block, block.lines, rows)
            self._cached[id(block)] = cached
        return cached.rows


def _hits_in_lines(query: Query, lines: Sequence[Line]) -> list[RowHits]:
    """Return the spans of hits on each line; a hit that is wrapped has one on each of its lines."""
    rows: list[RowHits] = [[] for _ in lines]
    nth_in_block = 0
    for fragments in unwrapped_lines(lines):
        text = "".join(fragment.words + fragment.tail for fragment in fragments)
        for first, last in query.spans(text):
            before = 0  # characters of the fragments that were passed
            for fragment in fragments:
                start = max(first - before, 0)
                end = min(last - before, len(fragment.words))
                if start < end:
                    span = HitSpan(fragment.start + start, fragment.start + end, nth_in_block)
                    rows[fragment.row].append(span)
                before += len(fragment.words) + len(fragment.tail)
            nth_in_block += 1
    return rows


def unwrapped_lines(lines: Sequence[Line]) -> Iterator[list[Fragment]]:
    """Yield each unwrapped line of text and each cell of a table, as the fragments on its rows."""
    first = 0
    while first < len(lines):
        last = first  # the last line of the same wrapped text, or of the same row of a table
        # in a table, a line has `tails` if the next line belongs to the same row
        while (lines[last].is_wrapped or lines[last].tails) and last + 1 < len(lines):
            last += 1
        for column in range(len(lines[first].cells) or 1):
            yield [_fragment(lines[row], row, column) for row in range(first, last + 1)]
        first = last + 1


def _fragment(line: Line, row: int, column: int) -> Fragment:
    """Return the text of a line; in a table, that of its cell in a column, without padding."""
    if not line.cells:
        return Fragment(row, 0, line.text, "")
    start, end = line.cells[column]
    text = line.text[start:end].rstrip()
    words = text.lstrip()
    tail = line.tails[column] if column < len(line.tails) else ""
    return Fragment(row, start + len(text) - len(words), words, tail)
