"""Session list: saved sessions in groups, with a filter over their titles.

The open session is the one that the chat shows. The chosen session is the one with the bar, on
which the keys of the list act.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Input

from lmchat import units
from lmchat.commands.table import Scope
from lmchat.sessions.session import ListFilter, SessionGroup
from lmchat.tui.bindings import bindings
from lmchat.tui.messages import AppMessage
from lmchat.tui.widgets.field import TextLine
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, StyledTexts, styled
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList, edge_row, wrapped_rows
from lmchat.units import SIGNS

_EMPTY = "No sessions. Your next message starts one."
_LEAST_WIDTH = 12  # columns for a sentence, also before the size is known
_COUNTED_FROM = 10  # headings show a count from this many sessions
_FAR = 1_000_000  # rows that Home and End move by: more than a list has


class SessionList(Vertical, can_focus=True):
    """Groups of sessions; posts what the user wants to do with one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(Scope.SESSIONS),
        ("slash", "filter"),
        ("escape", "clear_filter"),
        ("up", "move(-1)"),
        ("down", "move(1)"),
        ("home", f"move({-_FAR})"),
        ("end", f"move({_FAR})"),
        ("pageup", "page(-1)"),
        ("pagedown", "page(1)"),
    ]

    class ActWanted(AppMessage):
        """Request to run a command on a session."""

        command_id: str
        session_id: str

    class SearchWanted(AppMessage):
        """Request to search all sessions."""

        query: str

    _rows = query_one(RowList)
    _hint = query_one("#session-filter-hint", LineWidget)
    _filter = query_one(TextLine)

    def __init__(self) -> None:
        super().__init__(id="sessions")
        self._groups: tuple[SessionGroup, ...] = ()
        self._open_id: str | None = None  # of the open session; None before `show`
        # the open session that `_draw` has chosen last; it does that once, so the user can move on
        self._last_chosen_id: str | None = None
        self._marks: dict[str, StyledTexts] = {}  # signs at the ends of rows, by session ids

    def compose(self) -> ComposeResult:
        yield LineWidget([styled("lmchat", STRONG)], classes="heading")
        yield LineWidget([styled("/ search", MUTED)], id="session-filter-hint")
        yield TextLine(id="session-filter", compact=True, select_on_focus=False)
        yield RowList(hides_choice=True)

    def on_mount(self) -> None:
        self._draw()

    def show(
        self,
        groups: Sequence[SessionGroup],
        open_id: str,
        *,
        streaming: Collection[str] = (),
        unread: Collection[str] = (),
        with_question: Collection[str] = (),
    ) -> None:
        """Show sessions in groups, and mark some of them by their ids.

        In `streaming` sessions, an answer streams or tools run. In sessions `with_question`, a tool
        call waits for the user. Nothing is drawn if nothing has changed. A newly opened session is
        chosen as soon as it is listed.
        """
        marks: dict[str, StyledTexts] = {  # a session with several marks shows the last one
            **dict.fromkeys(unread, ((SIGNS.fresh, ""),)),
            **dict.fromkeys(streaming, ((SIGNS.down_arrow, ""),)),
            **dict.fromkeys(with_question, ((SIGNS.warning, "$warning"),)),
        }
        shown = (tuple(groups), open_id, marks)
        has_changed = shown != (self._groups, self._open_id, self._marks)
        self._groups, self._open_id, self._marks = shown
        if has_changed and self.is_mounted:  # else `on_mount` draws it
            self._draw()

    @property
    def chosen_id(self) -> str:
        """Id of the chosen session; empty without one."""
        return "" if self._rows.key is None else str(self._rows.key)

    def _draw(self) -> None:
        """Show the sessions that fit the filter in their groups, or a sentence if there are none.

        The choice stays, unless the open session is listed for the first time since it was opened.
        """
        typed = self._filter.value.strip()
        list_filter = ListFilter.typed(typed)
        rows: list[ListRow] = []
        for group in self._groups:
            shown = [
                header for header in group.headers if list_filter.fits(header.title, header.tags)
            ]
            if shown:
                if rows:
                    rows.append(ListRow())  # a blank one between two groups
                count = units.whole_number(len(shown)) if len(shown) >= _COUNTED_FROM else ""
                rows.append(edge_row(group.name, right=count))
            for header in shown:
                is_fork = header.parent_id is not None
                fork: StyledTexts = ((f"{SIGNS.fork} ", MUTED),) if is_fork else ()
                tags = "".join(f" #{tag}" for tag in header.tags)
                row = ListRow(
                    pieces=((*fork, (header.title or "Untitled", NAME)), ((tags, MUTED),)),
                    right=self._marks.get(header.session_id, ()),
                    key=header.session_id,
                    is_open=header.session_id == self._open_id,
                )
                rows.append(row)
        is_list_read = self._open_id is not None  # `show` sets it with the groups
        if not rows and is_list_read:
            words = _EMPTY
            if typed:
                words = f"No title has “{typed}”. Enter searches messages."
            width = self._rows.size.width - 2  # without the scrollbar, and one column free
            rows = wrapped_rows(words, max(width, _LEAST_WIDTH))
        choose = None
        # a new session is not listed before its first prompt
        if self._open_id != self._last_chosen_id and any(row.is_open for row in rows):
            choose = self._last_chosen_id = self._open_id
        self._rows.show(rows, choose=choose)

    def action_act(self, command_id: str) -> None:
        """Post `ActWanted` for the chosen session, if there is one."""
        if self.chosen_id:
            self.post_message(self.ActWanted(command_id, self.chosen_id))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable `clear_filter` unless the filter has the focus: elsewhere Esc stops an answer."""
        if action == "clear_filter" and not self._filter.has_focus:
            return False
        return super().check_action(action, parameters)

    def action_move(self, by: int) -> None:
        """Move the choice; while the filter has the focus, only move the focus to the list.

        An empty filter is then hidden.
        """
        if not self._filter.has_focus:
            self._rows.move(by)
        elif self._filter.value:
            self.focus()
        else:
            self.action_clear_filter()

    def action_page(self, direction: int) -> None:
        self._rows.page(direction)

    @on(events.Click, "#session-filter-hint")
    def action_filter(self) -> None:
        """Show and focus the filter, in place of the hint."""
        self._hint.display = False
        self._filter.display = True
        self.screen.set_focus(self._filter)  # at once: the next key must reach it

    def action_clear_filter(self) -> None:
        """Empty and hide the filter, which shows all sessions again, and focus the list."""
        self._hint.display = True
        self._filter.display = False
        self._filter.value = ""
        self.focus()

    def on_focus(self) -> None:
        self._rows.looks_focused = True

    def on_blur(self) -> None:
        self._rows.looks_focused = False

    def on_resize(self) -> None:
        if self._rows.key is None:  # the sentence for no sessions is wrapped to the new width
            self._draw()

    @on(RowList.Clicked)
    def open_clicked(self, event: RowList.Clicked) -> None:
        event.stop()
        self.post_message(self.ActWanted("session.open", str(event.key)))

    @on(Input.Changed)
    def filter_titles(self, event: Input.Changed) -> None:
        event.stop()
        self._draw()

    @on(Input.Submitted)
    def accept_filtered(self, event: Input.Submitted) -> None:
        """Post the request to open the chosen session.

        If no title fits the filter, post the request to search the messages of all sessions for it.
        """
        event.stop()
        if self.chosen_id:
            self.action_act("session.open")
        else:
            self.post_message(self.SearchWanted(self._filter.value))
