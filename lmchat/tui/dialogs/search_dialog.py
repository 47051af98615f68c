"""Search over all sessions: hits with their context, newest first.

A hit is a place in a message, or a title. Each one has two rows: its session, and the words around
it.
"""

from __future__ import annotations

import re
import time
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
_AFTER_DIVISOR = 3  # the words after a match keep at least a third of the room, if they need it
_MOST_HITS = 100  # a search with more hits needs another word


class SearchedStore(Protocol):
    """The part of the store that is asked."""

    async def search(self, query: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        """Return at most `limit` messages that contain the words of a query."""


class SearchDialog(ListDialog[SearchHit | None]):
    """Search dialog: shows the hits of the typed words; returns the hit that the user chooses."""

    HEADING = "Search all sessions"
    HINTS = (("Enter", "open"), ("↑ ↓", "choose"))

    def __init__(self, store: SearchedStore, query: str = "") -> None:
        super().__init__()
        self._store = store
        self._query = query
        self._hits: dict[Hashable, SearchHit] | None = None
        """Hits by the keys of their rows; None before a search, and after one that failed."""
        self._now: datetime | None = None  # local time to compare dates with; None for the clock

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
            began_s = time.monotonic()
            try:
                hits = await self._store.search(typed, limit=_MOST_HITS)
            except LMChatError as error:
                # muted: while a query is typed, it is often not valid yet
                self.show_problem(error.message, MUTED if isinstance(error, WrongUse) else "$error")
            else:
                self.show_hits(hits, (time.monotonic() - began_s) * 1000)

        _: Worker[None] = self.run_worker(search, name="search", group="search", exclusive=True)

    def show_hits(
        self, hits: Sequence[SearchHit], took_ms: float, *, now: datetime | None = None
    ) -> None:
        """Show the hits of a search.

        Args:
            hits: The newest first.
            took_ms: How long the search took.
            now: The local time that dates are compared with; by default that of the clock.
        """
        if not self.can_show:
            return
        self._hits = {(hit.session_id, hit.message_id): hit for hit in hits}
        self._now = now
        count = units.counted(len(hits), "hit")
        if len(hits) >= _MOST_HITS:
            count = f"{_MOST_HITS}+ hits"
        sessions = units.counted(len({hit.session_id for hit in hits}), "session")
        self.show_title(f"{count} in {sessions}" if hits else "")
        self.query_one(Field).show_note(units.latency(took_ms))
        self.draw()

    def show_problem(self, words: str, style: str = "$error") -> None:
        """Show in place of hits why a search has failed; do nothing in a dialog that is closed."""
        if not self.can_show:
            return
        self._hits = None
        self.show_title("")
        self.list.show(wrapped_rows(words, self.list.text_width, style))

    def draw(self) -> None:
        """Draw the hits, two rows each, or words if none exist; nothing before a search."""
        if self._hits is None:
            return
        width = self.list.text_width - 1  # without the bar of the chosen row
        now = self._now or datetime.now().astimezone()
        rows: list[ListRow] = []
        for key, hit in self._hits.items():
            title: StyledTexts = ((f" {hit.title}", STRONG),)
            tags: StyledTexts = ((f"  {' '.join(f'#{tag}' for tag in hit.tags)}", MUTED),)
            author = "you" if hit.role == Role.USER else ""  # none of a title or a tool's result
            if hit.role == Role.ASSISTANT:
                author = safe_line(hit.model, limit=30) or hit.role
            notes = (author, HIT_KIND_NAMES.get(hit.kind, ""), when(hit.created_at, now))
            right = f" {UNICODE.dot} ".join(filter(None, notes))
            if rows:
                rows.append(ListRow())
            rows.append(ListRow((title, tags), ((right, MUTED),), key=key))
            rows.append(ListRow((around(hit, width - 1),), key=key))  # it begins with a blank
        typed = self.typed.strip()
        if not rows and typed:
            rows = wrapped_rows(nothing_found(typed), width)
        self.list.show(rows)

    def action_take(self) -> None:
        """Leave with the chosen hit; do nothing if none exists."""
        hit = (self._hits or {}).get(self.list.key)
        if hit is not None:
            self.dismiss(hit)


def around(hit: SearchHit, width: int) -> StyledTexts:
    """Return the match of a hit with the words around it, for a width in cells.

    If there is not enough room, the words before the match are cut at their start, so that the
    match is in view. The words after it keep at least a third of the room; their end is not cut
    here.
    """
    texts = (hit.before, hit.match, hit.after)
    before, match, after = (on_one_line(re.sub(r"\s+", " ", text)) for text in texts)
    room = max(width - cell_len(match), 0)
    room_before = room - min(cell_len(after), room // _AFTER_DIVISOR)
    excess = cell_len(before) - room_before
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
    """Return `No hits for “WORDS”.`, and what to change in the typed search.

    That is fewer words, if there are several, and to leave out the last filter, if there is one.
    """
    filters = [word for word in typed.split() if word.startswith(_FILTERS)]
    words = [word for word in typed.split() if word not in filters]
    sentences = [f"No hits for “{safe_line(' '.join(words), limit=40)}”." if words else "No hits."]
    if len(words) > 1:
        sentences.append("Try fewer words.")
    if filters:
        sentences.append(f"Try without {safe_line(filters[-1], limit=30)}.")
    return " ".join(sentences)
