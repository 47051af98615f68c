"""Search over all sessions: hits with the words around them.

A hit is a match in a message, which has one at most, or in a title.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from datetime import datetime
from functools import partial

from rich.cells import cell_len
from textual.widget import Widget
from textual.worker import Worker

from lmchat.app.cells import split_at_cell
from lmchat.app.tui.dialogs.dialog import ListDialog
from lmchat.app.tui.widgets.field import Field
from lmchat.app.tui.widgets.line import (
    HIT,
    MUTED,
    STRONG,
    LineWidget,
    StyledTexts,
    short_names,
    styled,
)
from lmchat.app.tui.widgets.row_list import ASIDE, ASIDE_NAME, ListRow, RowList
from lmchat.base import units
from lmchat.base.errors import LMChatError
from lmchat.base.safe_text import SafeText, on_one_line, safe_line
from lmchat.base.units import SIGNS
from lmchat.core.sessions.session import HIT_KIND_NAMES, SearchHit

_FILTERS = ("model:", "role:", "before:", "after:", "title:", "has:code")
_MOST_HITS = 100  # a search with more hits needs another word
_MOST_AUTHOR = 20  # characters
_MATCH = "\0"  # stands for the match while marks around it are removed
# Marks of Markdown among the few words around a match, which are on one line: a single `#`, `*` or
# `-` may be one of code or arithmetic there. A link and emphasis keep their words.
_MARKS = (
    (re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,200}\)"), r"\1"),
    (re.compile(r"```\w{0,20}|`|~~|\*{2,3}|^#\s|#{2,6}\s|\|(?:\s?:?-{1,100}:?\s?\|)+"), ""),
    (re.compile(r"(?<!\w)\*(?=\S)([^*]{1,200})(?<=\S)\*(?!\w)"), r"\1"),
)


class SearchDialog(ListDialog):
    """Search dialog: shows the hits of the typed words; returns the `SearchHit` that is chosen."""

    HEADING = "Search all sessions"
    HINTS = (("Enter", "open there"), ("↑ ↓", "choose"))

    def __init__(
        self,
        search: Callable[..., Awaitable[Sequence[SearchHit]]],
        now: Callable[[], datetime],
        query: str = "",
    ) -> None:
        """`search` returns the hits of a query, at most `limit`, in the order of the list.

        The dates of hits are compared with `now`.
        """
        super().__init__()
        self._search = search
        self._now = now
        self._query = query
        self._hits: dict[Hashable, SearchHit] = {}  # by session and message, the keys of their rows
        self._nothing = ""  # words in place of hits

    def compose_content(self) -> Iterable[Widget]:
        yield Field(self._query, placeholder='Words, or "a phrase"')
        yield LineWidget([styled(f"  {name}", MUTED) for name in _FILTERS], classes="filters gap")
        yield RowList()

    def on_mount(self) -> None:
        if self._query:
            self.filter(self._query)

    def filter(self, typed: str) -> None:
        """Search in a worker, which cancels an earlier search that has not ended."""
        work = partial(self._draw_hits_of, typed)
        # mypy needs the type of the worker, although it is not used
        _: Worker[None] = self.run_worker(work, name="search", group="search", exclusive=True)

    async def _draw_hits_of(self, typed: str) -> None:
        """Search for typed words, and draw the hits, or words that say why there are none."""
        text = safe_line(typed.strip(), limit=40)
        self._hits = {}
        self._nothing = f"No hits for “{text}”. Try fewer words." if text else ""
        try:
            hits = await self._search(typed, limit=_MOST_HITS)
            self._hits = {_key(hit): hit for hit in hits}
        except LMChatError as error:
            self._nothing = error.message
        self.redraw()

    def draw(self) -> None:
        """Draw the hits below their sessions, or words if none exist; nothing before a search."""
        now = self._now().astimezone()
        sessions: dict[str, list[SearchHit]] = {}  # in the order of their best hits
        for hit in self._hits.values():
            sessions.setdefault(hit.session_id, []).append(hit)
        rows: list[ListRow] = []
        for hits in sessions.values():
            if rows:
                rows.append(ListRow())  # a blank one between two sessions
            rows += self._rows_of(hits, now)
        count = units.counted(len(self._hits), "hit")
        if len(self._hits) == _MOST_HITS:
            count = f"{_MOST_HITS}+ hits"
        figures = f"{count} in {units.counted(len(sessions), 'session')}" if rows else ""
        self.show_rows(rows, figures, nothing=self._nothing)

    def _rows_of(self, hits: Sequence[SearchHit], now: datetime) -> list[ListRow]:
        """Return the title of a session and its day, then a row for each hit in its messages.

        If the title itself is the hit, its row can be chosen.
        """
        day = units.day(hits[0].created_at, now)
        title = hits[0].title or "Untitled"
        right = ((f"{day} ", MUTED),)  # beside the scrollbar, a column is free
        if not hits[0].message_id:
            texts = (("  ", ""), *_marked(title, hits[0], STRONG))
            return [ListRow(pieces=(texts,), right=right, key=_key(hits[0]), is_at_edge=True)]
        rows = [ListRow(pieces=(((f"  {title}", STRONG),),), right=right, is_at_edge=True)]
        most = min(max(self.list.text_width // 4, 6), _MOST_AUTHOR)  # cells of the longest author
        authors = short_names((hit.author for hit in self._hits.values()), most)
        width = max(map(cell_len, authors.values()))
        for hit in hits:
            author = authors[hit.author]
            ends = [
                HIT_KIND_NAMES.get(hit.kind, ""),
                f"{hit.created_at.astimezone(now.tzinfo):%H:%M}",
            ]
            if (own_day := units.day(hit.created_at, now)) != day:
                ends[1] = f"{own_day} {ends[1]}"
            end = f" {SIGNS.dot} ".join(filter(None, ends))
            before = f"   {author}{' ' * (width - cell_len(author))}  "
            # 4 cells: the bar of the row, two blanks before the end, and one behind it
            words = match_in_context(
                hit, self.list.text_width - cell_len(before) - cell_len(end) - 4
            )
            rows.append(
                ListRow(
                    pieces=(((before, ASIDE_NAME), *words),),
                    right=((f"{end} ", MUTED),),
                    key=_key(hit),
                )
            )
        return rows

    def action_accept(self) -> None:
        if (hit := self._hits.get(self.list.key)) is not None:
            self.dismiss(hit)


def _key(hit: SearchHit) -> Hashable:
    return hit.session_id, hit.message_id


def match_in_context(hit: SearchHit, width: int) -> StyledTexts:
    """Return the match of a hit with the words around it, of this width in cells.

    The words before the match are cut at their start, so that the match is in view. Up to a third
    of the width is left for the words after the match, which the row cuts at its end.
    """
    before, match, after = map(on_one_line, (hit.before, hit.match, hit.after))
    before, after = map(on_one_line, _without_marks(before, after))
    room_before = width - cell_len(match) - min(cell_len(after), width // 3)
    if (excess := cell_len(before) - room_before) > 0:
        _, rest = split_at_cell(before, excess + 2)  # the sign and a blank take two cells
        _, blank, words = rest.partition(" ")  # the rest of a cut word says little
        before = SafeText(f"{SIGNS.cut} {words if blank else rest}")
    return (*_marked(before, hit), (match, HIT), *_marked(after, hit))


def _marked(text: str, hit: SearchHit, style: str = ASIDE) -> StyledTexts:
    """Return a text in a style, in which the words of the search are marked as hits."""
    words = "|".join(re.escape(on_one_line(word)) for word in (*hit.words, hit.match))
    pieces = re.split(f"({words})", text, flags=re.IGNORECASE)
    # each second piece is a hit
    return tuple((piece, HIT if index % 2 else style) for index, piece in enumerate(pieces))


def _without_marks(before: str, after: str) -> tuple[str, str]:
    """A link keeps its words."""
    text = f"{before}{_MATCH}{after}"
    for mark, words in _MARKS:
        text = mark.sub(words, text)
    before, _, after = text.partition(_MATCH)
    return before, after
