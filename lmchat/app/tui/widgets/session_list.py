"""Session list: saved sessions in groups, with a filter over their titles.

The open session is the one that the chat shows. The chosen one has the bar, and the keys of the
list act on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import ClassVar

from msgspec.structs import replace
from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Input

from lmchat.app.commands.table import Scope
from lmchat.app.markdown_lines.wrap import width_of
from lmchat.app.tui.messages import AppMessage, RunCommand, bindings
from lmchat.app.tui.widgets.field import TextLine
from lmchat.app.tui.widgets.line import (
    MUTED,
    STRONG,
    LineWidget,
    StyledTexts,
    cut_apart,
    parted,
    shared_beginnings,
    styled,
)
from lmchat.app.tui.widgets.row_list import NAME, ListRow, RowList, edge_row, wrapped_rows
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS
from lmchat.core.sessions.session import SessionGroup, SessionHeader, fits_filter

_LEAST_WIDTH = 12  # columns for a sentence, also before the size is known
_GAP = 2  # cells between a title and its time
_COUNTED_FROM = 10  # headings show a count from so many sessions
_FAR = 1_000_000  # rows that Home and End move by
# groups, id of the open session, marks at the ends of rows by session id, the day by which times
# are shown, why the saved ones could not be read
_Shown = tuple[tuple[SessionGroup, ...], str, dict[str, StyledTexts], date, str]


class SessionRow(ListRow, frozen=True, kw_only=True):
    """Row of a session; with two, the title continues in the second one."""

    header: SessionHeader
    today: date  # by which its time is shown
    number: int = 0  # 0 for the first row, 1 for the second
    has_two: bool = False
    mark: StyledTexts = ()
    shared: int = 0  # characters at the beginning of its title that another one has, too

    def fitted(self, width: int) -> ListRow:
        header = self.header
        fork = f"{SIGNS.fork} " if header.parent_id is not None else ""
        title = safe_line(header.title) or "Untitled"
        tags = safe_line(" ".join(f"#{tag}" for tag in header.tags))
        right = (
            *self.mark,
            (" " if self.mark else "", ""),
            (_when(header.updated_at, self.today), MUTED),
        )
        pieces: tuple[StyledTexts, ...]
        room = width - width_of(right) - _GAP
        if not self.has_two:
            title = cut_apart(title, room - cell_len(fork), self.shared)
            pieces = (((fork, MUTED), (title, NAME)), ((f"  {tags}" if tags else "", MUTED),))
            return replace(self, pieces=pieces, right=right)
        first, rest = parted(title, width - cell_len(fork))
        if not self.number:
            return replace(self, pieces=(((fork, MUTED), (first, NAME)),))
        rest = cut_apart(rest, room, self.shared - (len(title) - len(rest)))
        pieces = (((rest, MUTED),), ((f" {tags}" if tags else "", MUTED),))
        if not rest:  # a first piece without room is cut, not left out
            pieces = (((tags, MUTED),),)
        return replace(self, pieces=pieces, right=right)


def _when(moment: datetime, today: date) -> str:
    """Write the time of today or yesterday, else the day, and another year."""
    local = moment.astimezone()
    if (today - local.date()).days in (0, 1):
        return f"{local:%H:%M}"
    day = f"{local.day} {local:%b}"
    return day if local.year == today.year else f"{day} {local.year}"


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

    class ActRequested(AppMessage):
        """Request to run a command on a session."""

        command_id: str
        session_id: str

    _rows = query_one(RowList)
    _hint = query_one("#session-filter-hint", LineWidget)

    def __init__(self) -> None:
        super().__init__(id="sessions")
        self._filter = TextLine(id="session-filter", select_on_focus=False)
        self._shown: _Shown | None = None  # None before `show`
        # the open session that `_draw` has chosen; once, so the user can move on
        self._last_chosen_id: str | None = None

    def compose(self) -> ComposeResult:
        yield LineWidget([styled("lmchat", STRONG)], classes="heading")
        yield LineWidget([styled("/ filter", MUTED)], id="session-filter-hint")
        yield RowList(hides_choice=True)

    def on_mount(self) -> None:
        self._draw()

    def show(
        self,
        groups: Sequence[SessionGroup],
        open_id: str,
        *,
        today: date,
        streaming: Collection[str] = (),
        unread: Collection[str] = (),
        with_question: Collection[str] = (),
        problem: str = "",
    ) -> None:
        """Show sessions in groups, and mark some of them by their ids.

        In `streaming` ones, an answer streams or tools run. In those `with_question`, a tool call
        waits for the user. A newly opened session is chosen as soon as it is listed. `problem` says
        why the saved sessions could not be read.
        """
        marks: dict[str, StyledTexts] = {  # of several marks, the last is shown
            **dict.fromkeys(unread, ((f"{SIGNS.fresh} new", "$primary"),)),
            **dict.fromkeys(streaming, ((SIGNS.down_arrow, ""),)),
            **dict.fromkeys(with_question, ((f"{SIGNS.warning} asks", "$warning"),)),
        }
        shown = (tuple(groups), open_id, marks, today, problem)
        if shown != self._shown:
            self._shown = shown
            if self.is_mounted and self.is_attached:  # else `on_mount` draws it
                self._draw()

    @property
    def chosen_id(self) -> str:
        return "" if self._rows.key is None else str(self._rows.key)

    def _draw(self) -> None:
        """Show the sessions that fit the filter, or a sentence if there are none.

        The choice stays, unless the open session is listed for the first time.
        """
        if self._shown is None:
            return
        groups, open_id, marks, today, problem = self._shown
        typed = self._filter.value.strip()
        rows: list[ListRow] = []
        titles = [safe_line(header.title) for group in groups for header in group.headers]
        shared = shared_beginnings(titles)
        has_two = self.screen.has_class("-tall")
        for group in groups:
            shown = [header for header in group.headers if fits_filter(header, typed)]
            if shown:
                if rows:
                    rows.append(ListRow())  # a blank one between two groups
                count = units.whole_number(len(shown)) if len(shown) >= _COUNTED_FROM else ""
                rows.append(edge_row(group.name, f"{STRONG} {MUTED}", right=count))
            for header in shown:
                row = SessionRow(
                    key=header.session_id,
                    is_open=header.session_id == open_id,
                    header=header,
                    today=today,
                    has_two=has_two,
                    mark=marks.get(header.session_id, ()),
                    shared=shared[safe_line(header.title)],
                )
                rows += [row, replace(row, number=1)] if has_two else [row]
        if not rows:
            text = problem or "No sessions. Your next message starts one."
            if typed:
                text = f"No title has “{typed}”. Enter searches messages."
            width = self._rows.size.width - 2  # without the scrollbar, and one column free
            rows = wrapped_rows(text, max(width, _LEAST_WIDTH))
        choose = None
        # a new session is not listed before its first prompt
        if open_id != self._last_chosen_id and any(row.is_open for row in rows):
            choose = self._last_chosen_id = open_id
        self._rows.show(rows, choose=choose)

    def action_act(self, command_id: str) -> None:
        if self.chosen_id:
            self.post_message(self.ActRequested(command_id, self.chosen_id))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable `clear_filter` unless the filter has the focus: elsewhere Esc stops an answer."""
        if action == "clear_filter" and not self._filter.has_focus:
            return False
        return super().check_action(action, parameters)

    def action_move(self, by: int) -> None:
        """Move the choice; from the filter, only move the focus to the list.

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
    async def action_filter(self) -> None:
        if not self._filter.is_attached:  # it would take 1 % of a start
            await self.mount(self._filter, after=self._hint)
        self._hint.display = False
        self._filter.display = True
        self.screen.set_focus(self._filter)  # at once: the next key must reach it
        self._filter.select_all()  # what is typed replaces an earlier filter

    def action_clear_filter(self) -> None:
        self._hint.display = True
        self._filter.display = False
        self._filter.value = ""
        self.focus()

    def on_focus(self) -> None:
        self._rows.looks_focused = True

    def on_blur(self) -> None:
        self._rows.looks_focused = False

    def on_resize(self) -> None:
        self._draw()  # one or two rows each; the sentence for no sessions is wrapped

    @on(RowList.Clicked)
    def open_clicked(self, event: RowList.Clicked) -> None:
        event.stop()
        self.post_message(self.ActRequested("session.open", str(event.key)))

    @on(Input.Changed)
    def filter_titles(self, event: Input.Changed) -> None:
        event.stop()
        self._draw()

    @on(Input.Submitted)
    def accept_filtered(self, event: Input.Submitted) -> None:
        """Open the chosen session; if no title fits, search the messages of all sessions."""
        event.stop()
        if self.chosen_id:
            self.action_act("session.open")
        else:
            self.post_message(RunCommand("search", self._filter.value))


def with_unsaved(
    groups: Sequence[SessionGroup], unsaved: Iterable[SessionHeader]
) -> tuple[SessionGroup, ...]:
    listed_ids = {header.session_id for group in groups for header in group.headers}
    missing = tuple(header for header in unsaved if header.session_id not in listed_ids)
    if not missing:
        return tuple(groups)
    return (SessionGroup(name="Not saved", headers=missing), *groups)
