"""Search over all sessions: hits with the words around them.

A hit is a match in a message, which has one at most, or in a title. Each one has two rows: its
session, and the words around the match.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from datetime import datetime
from functools import partial

from rich.cells import cell_len
from textual.widget import Widget
from textual.worker import Worker

from lmchat import units
from lmchat.cells import split_at_cell
from lmchat.errors import LMChatError
from lmchat.safe_text import SafeText, on_one_line, safe_line
from lmchat.sessions.message import Role
from lmchat.sessions.session import HIT_KIND_NAMES, SearchHit
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.line import HIT, MUTED, STRONG, LineWidget, StyledTexts, styled
from lmchat.tui.widgets.row_list import ASIDE, ListRow, RowList, text_row
from lmchat.units import SIGNS

_FILTERS = ("model:", "role:", "before:", "after:", "title:", "has:code")
_MOST_HITS = 100  # a search with more hits needs another word


class SearchDialog(ListDialog):
    """Search dialog: shows the hits of the typed words; returns the `SearchHit` that is chosen."""

    HEADING = "Search all sessions"
    HINTS = (("Enter", "open"), ("↑ ↓", "choose"))

    def __init__(
        self,
        search: Callable[..., Awaitable[Sequence[SearchHit]]],
        now: Callable[[], datetime],
        query: str = "",
    ) -> None:
        """Create the dialog.

        Args:
            search: Returns the hits of a query, at most `limit`, in the order of the list.
            now: Returns the time with which the dates of hits are compared.
            query: The words that are searched for at first.
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
        words = safe_line(typed.strip(), limit=40)
        self._hits = {}
        self._nothing = f"No hits for “{words}”. Try fewer words." if words else ""
        try:
            hits = await self._search(typed, limit=_MOST_HITS)
            self._hits = {(hit.session_id, hit.message_id): hit for hit in hits}
        except LMChatError as error:
            self._nothing = error.message
        self.redraw()

    def draw(self) -> None:
        """Draw the hits, two rows each, or words if none exist; nothing before a search."""
        now = self._now().astimezone()
        rows: list[ListRow] = []
        for key, hit in self._hits.items():
            author = "you" if hit.role == Role.USER else safe_line(hit.model, limit=30)
            # the second fact, the place of the hit, is empty if that is the text of a message
            facts = (author, HIT_KIND_NAMES.get(hit.kind, ""), when(hit.created_at, now))
            right = f" {SIGNS.dot} ".join(filter(None, facts))
            if rows:
                rows.append(ListRow())  # a blank one between two hits
            rows.append(text_row(f" {hit.title or 'Untitled'}", STRONG, right=right, key=key))
            # 2 cells: the bar of the row and a blank
            words = match_in_context(hit, self.list.text_width - 2)
            rows.append(ListRow(pieces=(words,), key=key))
        count = units.counted(len(self._hits), "hit")
        if len(self._hits) == _MOST_HITS:
            count = f"{_MOST_HITS}+ hits"
        sessions = units.counted(len({hit.session_id for hit in self._hits.values()}), "session")
        self.show_rows(rows, f"{count} in {sessions}" if rows else "", nothing=self._nothing)

    def action_accept(self) -> None:
        """Leave with the chosen hit; do nothing if none exists."""
        if (hit := self._hits.get(self.list.key)) is not None:
            self.dismiss(hit)


def match_in_context(hit: SearchHit, width: int) -> StyledTexts:
    """Return a blank and the match of a hit with the words around it, of this width in cells.

    The words before the match are cut at their start, so that the match is in view. Up to a third
    of the width is left for the words after the match, which the row cuts at its end.
    """
    before, match, after = map(on_one_line, (hit.before, hit.match, hit.after))
    room_before = width - cell_len(match) - min(cell_len(after), width // 3)
    if (excess := cell_len(before) - room_before) > 0:
        _, kept = split_at_cell(before, excess + 2)  # the sign and a blank take two cells
        before = SafeText(f"{SIGNS.cut} {kept}")
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
