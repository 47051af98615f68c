"""Session list: saved sessions in groups, with a filter over their titles."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Input

from lmchat.domain.session import ListFilter, SessionHeader
from lmchat.services.library import SessionGroup
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.icons import Icons, icons_for
from lmchat.tui.messages import LeaveFilter, Post
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, Parts, content
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList, words_as_rows

_EMPTY = "No sessions. Your next message starts one."
_FAR = 1_000_000
_MOVES = (("up", -1), ("down", 1), ("home", -_FAR), ("end", _FAR))
_COUNTED = 10  # headings show a count from this many sessions


class SessionList(Vertical, can_focus=True):
    """Groups of sessions; posts what the user wants to do with one."""

    BINDINGS = [  # noqa: RUF012 - as Textual declares it
        *bindings(Scope.SESSIONS),
        Binding("slash", "filter", "search", show=False),
        *(Binding(key, f"move({by})", show=False) for key, by in _MOVES),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    class Opened(Post):
        """Request to open a session."""

        session_id: str

    class ActWanted(Post):
        """Request to act on a session."""

        name: str  # `rename`, `tag`, `pin`, `archive`, `delete`, `undo` or `trash`
        session_id: str

    class SearchWanted(Post):
        """Request to search all sessions."""

        query: str

    _rows = query_one(RowList)
    _hint = query_one("#session-filter-hint", LineWidget)

    def __init__(self) -> None:
        super().__init__(id="sessions")
        self._groups: tuple[SessionGroup, ...] = ()
        self._open_id: str | None = None
        self._streaming: frozenset[str] = frozenset()
        self._unread: frozenset[str] = frozenset()
        self._with_question: frozenset[str] = frozenset()
        self._typed = self._offer = ""

    def compose(self) -> ComposeResult:
        yield LineWidget([content((("lmchat", STRONG),))], classes="heading")
        yield LineWidget([content((("/ search", MUTED),))], id="session-filter-hint")
        yield RowList(hides_choice=True)

    def on_mount(self) -> None:
        self._draw()

    def show(
        self,
        groups: Sequence[SessionGroup],
        open_id: str | None,
        streaming: Collection[str] = (),
        unread: Collection[str] = (),
        with_question: Collection[str] = (),
    ) -> None:
        """Show other sessions, or other marks."""
        new = (
            tuple(groups),
            open_id,
            frozenset(streaming),
            frozenset(unread),
            frozenset(with_question),
        )
        if new != (self._groups, self._open_id, self._streaming, self._unread, self._with_question):
            choose = open_id if open_id != self._open_id else None
            self._groups, self._open_id, self._streaming, self._unread, self._with_question = new
            if self.is_mounted:
                self._draw(choose)

    def offer(self, words: str) -> None:
        """Show what can be done while there are no sessions."""
        self._offer = words
        self._draw()

    @property
    def chosen_id(self) -> str:
        return "" if self._rows.key is None else str(self._rows.key)

    def _draw(self, choose: str | None = None) -> None:
        typed = self._typed.strip()
        rows = list(self._listed(ListFilter.typed(typed), icons_for(self)))
        if not rows:
            words = (
                f"No title has “{safe_line(typed)}”. Enter searches messages."
                if typed
                else f"{_EMPTY} {self._offer}".rstrip()
            )
            rows = words_as_rows(words, max(self._rows.size.width - 2, 12))
        self._rows.show(rows, choose=choose)

    def _listed(self, wanted: ListFilter, icons: Icons) -> Iterator[ListRow]:
        gap: tuple[ListRow, ...] = ()
        for group in self._groups:
            shown = [header for header in group.headers if wanted.fits(header.title, header.tags)]
            if not shown:
                continue
            yield from gap
            gap = (ListRow(),)
            count = formatting.tokens(len(shown)) if len(shown) >= _COUNTED else ""
            yield ListRow((((safe_line(group.name), MUTED),),), ((count, MUTED),), is_heading=True)
            yield from (self._row(header, icons) for header in shown)

    def _row(self, header: SessionHeader, icons: Icons) -> ListRow:
        session_id = header.session_id
        fork: Parts = () if header.parent_id is None else ((f"{icons.fork} ", MUTED),)
        pieces = [(*fork, (safe_line(header.title), NAME))]
        if header.tags:
            tags = safe_line(" ".join(f"#{tag}" for tag in header.tags))
            pieces.append(((f" {tags}", MUTED),))
        mark = icons.fresh if session_id in self._unread else ""
        mark = icons.down_arrow if session_id in self._streaming else mark
        right: Parts = ((mark, ""),) if mark else ()
        right = ((icons.warning, "$warning"),) if session_id in self._with_question else right
        return ListRow(tuple(pieces), right, key=session_id, is_open=session_id == self._open_id)

    def action_session(self, name: str) -> None:
        if name == "open":
            if self.chosen_id:
                self.post_message(self.Opened(self.chosen_id))
        elif self.chosen_id or name in ("undo", "trash"):
            self.post_message(self.ActWanted(name, self.chosen_id))

    def action_move(self, by: int) -> None:
        self._rows.move(by)

    def action_page(self, direction: int) -> None:
        self._rows.page(direction)

    @on(events.Click, "#session-filter-hint")
    async def action_filter(self) -> None:
        from lmchat.tui.widgets.field import SessionFilter

        if not self.query(SessionFilter):
            await self.mount(SessionFilter(), before=self._rows)
        self._hint.display = False
        self.query_one(SessionFilter).begin()

    def on_focus(self) -> None:
        self._rows.set_focused(has_keys=True)

    def on_blur(self) -> None:
        self._rows.set_focused(has_keys=False)

    def on_resize(self) -> None:
        if self._rows.key is None:
            self._draw()

    @on(RowList.Taken)
    def open_clicked(self, event: RowList.Taken) -> None:
        event.stop()
        self.post_message(self.Opened(str(event.key)))

    @on(Input.Changed)
    def filter_titles(self, event: Input.Changed) -> None:
        event.stop()
        self._typed = event.value
        self._draw()

    @on(Input.Submitted)
    def take_filtered(self, event: Input.Submitted) -> None:
        event.stop()
        if self.chosen_id:
            self.action_session("open")
        else:
            self.post_message(self.SearchWanted(self._typed))

    @on(LeaveFilter)
    def leave_filter(self, event: LeaveFilter) -> None:
        event.stop()
        self._hint.display = not event.is_kept
        self.focus()
