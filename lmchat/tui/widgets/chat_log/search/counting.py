"""How many hits the blocks of a message have: by their source, or as they are shown."""

from __future__ import annotations

from collections.abc import Iterable

from lmchat.domain.message import AttachedFile, ReasoningPart, Role, pieces_of
from lmchat.tui.widgets.chat_log.blocks import Block, Kind
from lmchat.tui.widgets.chat_log.document.entry import Entry
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.line import Line
from lmchat.tui.widgets.chat_log.search.hits import CARRIED, Rows, hits_in, texts_in
from lmchat.tui.widgets.chat_log.search.letters import Query

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
