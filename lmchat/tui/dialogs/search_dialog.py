"""Search over all sessions: hits with their context, newest first.

A hit is a place in a message, or a title. Each one has two rows: its session, and the words around
it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from rich.cells import cell_len
from textual.widget import Widget
from textual.worker import Worker

from lmchat import units
from lmchat.cells import split_at_cell
from lmchat.errors import LMChatError, WrongUse
from lmchat.safe_text import SafeText, on_one_line, safe_line
from lmchat.sessions.message import Role
from lmchat.sessions.session import HIT_KIND_NAMES, SearchHit
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import HIT, MUTED, STRONG, LineWidget, StyledTexts, styled
from lmchat.tui.widgets.row_list import ASIDE, ListRow, RowList, wrapped_rows
from lmchat.units import UNICODE

_FILTERS = ("model:", "role:", "before:", "after:", "title:", "has:code")
_MOST_HITS = 100  # a search with more hits needs another word


class SearchedStore(Protocol):
    """The part of the store that is asked."""

    async def search(self, query: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        """Return at most `limit` messages that contain the words of a query."""


class SearchDialog(ListDialog):
    """Search dialog: shows the hits of the typed words; returns the hit that the user chooses."""

    HEADING = "Search all sessions"
    HINTS = (("Enter", "open"), ("↑ ↓", "choose"))

    def __init__(self, store: SearchedStore, query: str = "") -> None:
        super().__init__()
        self._store = store
        self._query = query
        self._hits: dict[Hashable, SearchHit] = {}  # by the keys of their rows
        self._now: datetime | None = None  # local time to compare dates with; None for the clock
        self._problem: tuple[str, str] | None = ("", "")  # words in place of hits, and their style

    def compose_content(self) -> Iterable[Widget]:
        yield Field(self._query, placeholder='Words, or "a phrase"')
        yield LineWidget([styled(f"  {name}", MUTED) for name in _FILTERS], classes="filters gap")
        yield RowList()

    def on_mount(self) -> None:
        if self._query:
            self.filter(self._query)

    def filter(self, typed: str) -> None:
        """Search in a worker, and show the hits, or why the search failed.

        An earlier search that has not ended is cancelled.
        """

        async def search() -> None:
            try:
                hits = await self._store.search(typed, limit=_MOST_HITS)
            except LMChatError as error:
                # muted: while a query is typed, it is often not valid yet
                self.show_problem(error.message, MUTED if isinstance(error, WrongUse) else "$error")
            else:
                self.show_hits(hits)

        _: Worker[None] = self.run_worker(search, name="search", group="search", exclusive=True)

    def show_hits(self, hits: Sequence[SearchHit], *, now: datetime | None = None) -> None:
        """Show hits, the newest first; `now` is the local time that dates are compared with."""
        self._hits = {(hit.session_id, hit.message_id): hit for hit in hits}
        self._now = now
        self._problem = None
        self.redraw()

    def show_problem(self, words: str, style: str = "$error") -> None:
        """Show in place of hits why a search has failed."""
        self._hits = {}
        self._problem = (words, style)
        self.redraw()

    def draw(self) -> None:
        """Draw the hits, two rows each, or words if none exist; nothing before a search."""
        if self._problem is not None:
            words, style = self._problem
            self.list.show(wrapped_rows(words, self.list.text_width, style))
            self.show_title("")
            return
        now = self._now or datetime.now().astimezone()
        rows: list[ListRow] = []
        for key, hit in self._hits.items():
            author = "you" if hit.role == Role.USER else ""  # none of a title or a tool's result
            if hit.role == Role.ASSISTANT:
                author = safe_line(hit.model, limit=30) or hit.role
            notes = (author, HIT_KIND_NAMES.get(hit.kind, ""), when(hit.created_at, now))
            right = f" {UNICODE.dot} ".join(filter(None, notes))
            tags = " ".join(f"#{tag}" for tag in hit.tags)
            if rows:
                rows.append(ListRow())
            title: tuple[StyledTexts, ...] = (((f" {hit.title}", STRONG),), ((f"  {tags}", MUTED),))
            rows.append(ListRow(title, ((right, MUTED),), key=key))
            # without the bar of the row and the blank that it begins with
            rows.append(ListRow((around(hit, self.list.text_width - 2),), key=key))
        count = f"{_MOST_HITS}+ hits"
        if len(self._hits) < _MOST_HITS:
            count = units.counted(len(self._hits), "hit")
        sessions = units.counted(len({hit.session_id for hit in self._hits.values()}), "session")
        figures = [f"{count} in {sessions}"] if rows else []
        typed = self.typed.strip()
        self.show_rows(rows, *figures, nothing=nothing_found(typed) if typed else "")

    def action_take(self) -> None:
        """Leave with the chosen hit; do nothing if none exists."""
        if (hit := self._hits.get(self.list.key)) is not None:
            self.dismiss(hit)


def around(hit: SearchHit, width: int) -> StyledTexts:
    """Return the match of a hit with the words around it, for a width in cells.

    The words before the match are cut at their start, if they take more than two thirds of the
    room, so that the match is in view.
    """
    texts = (hit.before, hit.match, hit.after)
    before, match, after = (on_one_line(re.sub(r"\s+", " ", text)) for text in texts)
    room = max(width - cell_len(match), 0)
    excess = cell_len(before) - room + min(cell_len(after), room // 3)
    if excess > 0:
        sign = f"{UNICODE.cut} "
        _, end = split_at_cell(before, min(excess + len(sign), cell_len(before)))
        before = SafeText(sign + end)
    return ((" ", ""), (before, ASIDE), (match, HIT), (after, ASIDE))


def when(moment: datetime, now: datetime) -> str:
    """Return `today 14:02`, `yesterday 14:02`, `3 November`, or for other years `3 November 2025`.

    `moment` is compared with `now` in the time zone of `now`.
    """
    local = moment.astimezone(now.tzinfo)
    days = (now.date() - local.date()).days
    if days in (0, 1):
        return f"{'yesterday' if days else 'today'} {local:%H:%M}"
    day = f"{local.day} {local:%B}"
    return day if local.year == now.year else f"{day} {local.year}"


def nothing_found(typed: str) -> str:
    """Return `No hits for “WORDS”.`, and what to change in the typed search."""
    filters = [word for word in typed.split() if word.startswith(_FILTERS)]
    advice = f" Try without {safe_line(filters[-1], limit=30)}." if filters else " Try fewer words."
    return f"No hits for “{safe_line(typed, limit=40)}”.{advice}"
