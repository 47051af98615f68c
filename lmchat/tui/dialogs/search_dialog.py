"""Search over all sessions: hits with their context, newest first.

A hit is a place in a message, or a title. Each one has two rows: its session, and the words around
it. Near the end of the list, more hits are searched.
"""

from __future__ import annotations

import re
import time
from collections.abc import Hashable, Iterable, Sequence
from datetime import datetime
from typing import ClassVar

from msgspec import Struct
from rich.cells import cell_len
from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.worker import Worker

from lmchat import units
from lmchat.cells import split_at_cell
from lmchat.errors import LMChatError, WrongUse
from lmchat.safe_text import safe_line
from lmchat.services.ports import ChatStore
from lmchat.sessions.message import Role
from lmchat.sessions.session import HIT_KIND_NAMES, SearchHit
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.icons import icons_for
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import HIT, MUTED, STRONG, LineWidget, StyledTexts, styled
from lmchat.tui.widgets.row_list import ASIDE, ListRow, RowList, wrapped_rows
from lmchat.units import Icons

_FILTERS = ("model:", "role:", "before:", "after:", "title:", "has:code")
_FILTER = re.compile(r"\b(?:model|role|before|after|title|has):\S+")
_LIST_ROWS = 11  # height of the list before anything was found
_AFTER_DIVISOR = 3  # the words after a match keep at least a third of the room, if they need it
_FIRST_LIMIT = 20  # hits of the first search
_MORE = 5  # factor by which the limit grows near the end of the list
_MOST_HITS = 2500


class SearchChoice(Struct, frozen=True, kw_only=True):
    """The hit that the user chose."""

    hit: SearchHit
    is_export_wanted: bool = False  # whether its session is to be exported, not only shown


class SearchDialog(ListDialog[SearchChoice | None]):
    """Search dialog: shows the hits of the typed words; returns the hit that the user chooses."""

    HEADING = "Search all sessions"
    HINTS = (("Enter", "open"), ("↑ ↓", "choose"), ("^E", "export session"))
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+e", "export_hit", priority=True)]

    def __init__(self, store: ChatStore, query: str = "") -> None:
        super().__init__()
        self._store = store
        self._query = query
        self._hits: dict[Hashable, SearchHit] = {}  # by the keys of their rows
        self._is_cut = False  # whether there may be more hits
        self._has_searched = False  # whether the last search has ended without an error
        self._now: datetime | None = None  # local time to compare dates with; None for the clock

    def compose_content(self) -> Iterable[Widget]:
        yield Field(self._query, placeholder='Words, or "a phrase"')
        yield LineWidget([styled(f"  {name}", MUTED) for name in _FILTERS], classes="filters gap")
        yield RowList()

    def on_mount(self) -> None:
        self.call_after_refresh(self.fit_list, _LIST_ROWS)
        if self._query:
            self.filter(self._query)

    def _search(self, query: str, limit: int = _FIRST_LIMIT) -> None:
        """Search for at most `limit` hits in a worker, and show them, or why the search failed.

        An earlier search that has not ended is cancelled.
        """

        async def search() -> None:
            began_s = time.monotonic()
            try:
                hits = await self._store.search(query, limit=limit)
            except LMChatError as error:
                # muted: while a query is typed, it is often not valid yet
                self.show_problem(error.message, MUTED if isinstance(error, WrongUse) else "$error")
            else:
                took_ms = (time.monotonic() - began_s) * 1000
                self.show_hits(hits, took_ms, is_cut=len(hits) >= limit)

        _: Worker[None] = self.run_worker(search, name="search", group="search", exclusive=True)

    def show_hits(
        self,
        hits: Sequence[SearchHit],
        took_ms: float,
        *,
        is_cut: bool = False,
        now: datetime | None = None,
    ) -> None:
        """Show the hits of a search.

        Args:
            hits: The newest first.
            took_ms: How long the search took.
            is_cut: Whether there may be more hits.
            now: The local time that dates are compared with; by default that of the clock.
        """
        if not self.can_show:
            return
        self._hits = {_key(hit): hit for hit in hits}
        self._now = now
        self._has_searched = True
        self._is_cut = is_cut
        self.show_title(_figures(hits, is_cut=is_cut))
        self.query_one(Field).show_note(units.latency(took_ms))
        self.draw()

    def show_problem(self, words: str, style: str = "$error") -> None:
        """Show in place of hits why a search has failed; do nothing in a dialog that is closed."""
        if not self.can_show:
            return
        self._hits = {}
        self._has_searched = False  # else `draw` would replace the reason by "nothing found"
        self.show_title("")
        self.list.show(wrapped_rows(words, self.list.text_width, style))

    def draw(self) -> None:
        """Draw the hits, two rows each, or words if none exist; nothing before a search."""
        width = self.list.text_width - 1  # without the bar of the chosen row
        if width < 1 or not self._has_searched:
            return
        now = self._now or datetime.now().astimezone()
        rows: list[ListRow] = []
        for hit in self._hits.values():
            if rows:
                rows.append(ListRow())
            rows += hit_rows(hit, width, now, icons_for(self))
        typed = self.typed.strip()
        if not rows and typed:
            rows = wrapped_rows(nothing_found(typed), width)
        self.list.show(rows)

    def filter(self, typed: str) -> None:
        self._search(typed)

    def action_take(self) -> None:
        self._leave_with_hit(is_export_wanted=False)

    def action_export_hit(self) -> None:
        self._leave_with_hit(is_export_wanted=True)

    def _leave_with_hit(self, *, is_export_wanted: bool) -> None:
        """Leave with the chosen hit; do nothing if none exists."""
        hit = self._hits.get(self.list.key)
        if hit is not None:
            self.dismiss(SearchChoice(hit=hit, is_export_wanted=is_export_wanted))

    @on(RowList.EndNear)
    def fetch_more(self) -> None:
        """Search again for `_MORE` times as many hits; do nothing if all are shown.

        The list posts `EndNear` when its last rows are about to come into view.
        """
        limit = min(len(self._hits) * _MORE, _MOST_HITS)
        if self._is_cut and limit > len(self._hits):
            self._is_cut = False  # else each key would search again, until the new hits are shown
            self._search(self.typed, limit)


def _figures(hits: Sequence[SearchHit], *, is_cut: bool) -> str:
    """Return `3 hits in 2 sessions`, or `20+ hits in …` if there may be more; "" without hits."""
    if not hits:
        return ""
    count = units.counted(len(hits), "hit")
    if is_cut:
        count = f"{units.tokens(len(hits))}+ hits"
    sessions = {hit.session_id for hit in hits}
    return f"{count} in {units.counted(len(sessions), 'session')}"


def hit_rows(hit: SearchHit, width: int, now: datetime, icons: Icons) -> list[ListRow]:
    """Return two rows for a hit: session with tags, author and time; the words around the match.

    `width` is in cells; `now` is the local time with which the date is compared.
    """
    title: list[StyledTexts] = [((f" {hit.title}", STRONG),)]
    if hit.tags:
        tags = " ".join(f"#{tag}" for tag in hit.tags)
        title.append(((f"  {tags}", MUTED),))
    notes = (_author(hit), HIT_KIND_NAMES.get(hit.kind, ""), when(hit.created_at, now))
    right = f" {icons.dot} ".join(filter(None, notes))
    words = around(hit, width - 1, icons.cut)  # which begin with a blank
    key = _key(hit)
    return [
        ListRow(tuple(title), ((right, MUTED),), key=key),
        ListRow((words,), key=key),
    ]


def _author(hit: SearchHit) -> str:
    """Return who wrote the words of a hit: "you", the model, or if it is not known the role.

    Return an empty text for a title, which has no author, and for a tool message if the row names
    the kind of the hit: that says already that a tool is meant.
    """
    is_named_by_kind = hit.kind in HIT_KIND_NAMES and hit.role == Role.TOOL
    if hit.kind == "title" or is_named_by_kind:
        return ""
    if hit.role == Role.USER:
        return "you"
    return safe_line(hit.model, limit=30) or hit.role


def around(hit: SearchHit, width: int, ellipsis: str) -> StyledTexts:
    """Return the match of a hit with the words around it, for a width in cells.

    If there is not enough room, the words before the match are cut at their start, so that the
    match is in view. The words after it keep at least a third of the room; their end is not cut
    here.
    """
    before, match, after = map(_spaced, (hit.before, hit.match, hit.after))
    room = width - cell_len(match)
    before_width = cell_len(before)
    after_width = cell_len(after)
    if before_width + after_width > room:
        room_after = max(min(after_width, room // _AFTER_DIVISOR), 0)
        room_before = max(room - room_after, 0)
        if before_width > room_before:
            kept_width = max(room_before - cell_len(f"{ellipsis} "), 0)
            _, end = split_at_cell(before, before_width - kept_width)
            before = f"{ellipsis} {end}"
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
    filters = _FILTER.findall(typed)
    words = safe_line(" ".join(_FILTER.sub("", typed).split()), limit=40)
    sentences = [f"No hits for “{words}”." if words else "No hits."]
    if " " in words:
        sentences.append("Try fewer words.")
    if filters:
        sentences.append(f"Try without {safe_line(filters[-1], limit=30)}.")
    return " ".join(sentences)


def _spaced(text: str) -> str:
    """Return safe text on one line; white space at its start and end becomes one blank each."""
    head = " " if text[:1].isspace() else ""
    tail = " " if text[-1:].isspace() and text.strip() else ""
    return f"{head}{safe_line(text)}{tail}"


def _key(hit: SearchHit) -> tuple[str, str]:
    return hit.session_id, hit.message_id
