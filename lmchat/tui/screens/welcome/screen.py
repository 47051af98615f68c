"""The welcome page: what was looked for, and what would help."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Static

from lmchat.domain.server import Candidate
from lmchat.services.candidates import (
    NOTHING,
    ServerRow,
    Step,
    advice,
    first_step,
    headline,
    server_rows,
)
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.ask_dialog import AddressDialog
from lmchat.tui.screens.connect import Connect
from lmchat.tui.screens.dialog import fit_height, free_height
from lmchat.tui.screens.welcome.rows import welcome_rows
from lmchat.tui.screens.welcome.starts import PageStarts, StartDialog
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, content
from lmchat.tui.widgets.row_list import ListRow, RowList

_HINTS = (("Enter", "choose"), ("F5", "check now"), ("^K", "search"), ("Esc", "chat"))
_LAST_HINTS = (("^P", "commands"), ("F1", "help"))
_ADVICE = "Start one, or {}. This page continues when a server appears."
_WAITING = "Your message waits until a server answers."
_WAYS = ("type an address", "try the built-in engine")
_STATUS_WIDTH = 50  # least columns for the number of addresses in the status line
_WAIT_S = 0.5  # how long rows may wait for each other, so that they all come at once


class WelcomeScreen(Screen[None]):
    """Shows what was found; `Connect` creates it, and leaves it when a server answers."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "choose", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        *(Binding(digit, f"take_number({digit})", show=False) for digit in "123456789"),
        Binding("f5", "look_now", "check now", show=False),
        Binding("ctrl+k", "search", "search sessions", show=False),
        Binding("escape", "leave", "chat", show=False),
    ]
    _rows = query_one(RowList)
    _headline = query_one("#welcome-headline", Static)
    _advice = query_one(".advice", Static)
    _problem = query_one("#welcome-problem", Static)
    _status = query_one("#welcome-status", LineWidget)

    def __init__(self, workspace: Workspace, connect: Connect) -> None:
        super().__init__()
        self._connect = connect
        self.has_waiting = False  # whether a message waits for a server
        self.is_leaving = False  # whether it goes as soon as no dialog is over it
        self.starts = PageStarts(self, workspace, connect, self.draw)
        self._clock = workspace.clock
        self._candidates: Sequence[Candidate] = ()
        self._places: tuple[ServerRow, ...] = ()
        self._looked_at_s: float | None = None
        self._next_look_at_s = 0.0
        self._drawn: Sequence[ListRow] = ()
        self._words = ("", "", "")
        self._is_touched = False
        """Whether the user has chosen a row: until then, it is the one that helps most."""

    @property
    def can_show(self) -> bool:
        return self.is_attached and bool(self.children) and self in self.app.screen_stack

    def on_screen_resume(self) -> None:
        if self.is_leaving:
            self.call_later(self.leave)

    def compose(self) -> ComposeResult:
        with Vertical(id="welcome"), Vertical(classes="page"):
            yield LineWidget([content((("lmchat", STRONG),))], classes="name gap")
            yield Static(content(((NOTHING, STRONG),)), id="welcome-headline")
            yield Static("", classes="advice gap")
            yield RowList()
            yield Static("", id="welcome-problem", classes="gap")
            yield LineWidget(id="welcome-status")
        yield KeysRow()

    def on_mount(self) -> None:
        """Look at once at what the engine can serve; rows wait a moment for that."""
        self._problem.display = False
        self._rows.set_focused(has_keys=True)
        self.query_one(KeysRow).show(_HINTS, _LAST_HINTS)
        self.starts.look_at_disk()
        self.call_after_refresh(self.draw)
        self.set_interval(1.0, self.tick)
        self.set_timer(_WAIT_S, self._end_wait)

    def _end_wait(self) -> None:
        self.starts.is_known = True
        self.draw()

    def tick(self) -> None:
        self._show_status()
        self.starts.tick()

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    def show(
        self, candidates: Sequence[Candidate], looked_s_ago: float, next_look_s: float
    ) -> None:
        """Show what was found how long ago, and in how many seconds the next look comes."""
        self._candidates, now_s = candidates, self._clock()
        self._looked_at_s, self._next_look_at_s = now_s - looked_s_ago, now_s + next_look_s
        self.draw()
        if not self.is_leaving:
            self.starts.look_at_programs(candidates)

    def show_problem(self, words: str) -> None:
        self.starts.problem = words
        self.draw()

    def draw(self) -> None:
        """Show what is known; the rows after the words, which may take more room than before."""
        here, problem = self.starts.here, safe_line(self.starts.problem)
        self._places = server_rows(self._candidates, here)
        if not self.can_show or not self.starts.is_known:
            return
        near = [replace(one.candidate, next_step=one.next_step) for one in self._places]
        is_usable = any(one.verdict.is_usable for one in near)
        usual = "" if is_usable else _ADVICE.format(_WAYS[here.offer is not None])
        first, second = headline(near), advice(near) or usual
        if self.has_waiting and not self._advice.display:  # there is room for one of the two
            first, second = _WAITING, ""
        elif self.has_waiting:
            second = f"{_WAITING} {second}"
        if (first, second, problem) != self._words:
            self._words = (first, second, problem)
            self._headline.update(content(((safe_line(first), STRONG),)))
            self._advice.update(content(((safe_line(second), MUTED),)))
            self._problem.display = bool(problem)
            self._problem.update(content(((f"! {problem}", "$error"),)))
            self.call_after_refresh(self._lay_out)
        self._lay_out()

    def _lay_out(self) -> None:
        """Draw the rows, without blank ones where there is no room for all."""
        if not self.can_show or not self._rows.text_width:
            return
        width, room = self._rows.text_width, self.size.height - 1
        rows = welcome_rows(self.starts.here, self._places, width, icons_for(self))
        if len(rows) > free_height(self._rows, room):
            rows = [row for row in rows if row.pieces]
        if rows != self._drawn:
            self._drawn = rows
            self._rows.show(rows, choose=None if self._is_touched else self._first_choice(rows))
        self._show_status()
        fit_height(self._rows, len(rows), room)
        if not self._is_touched:
            self.call_after_refresh(self._rows.settle)

    def _first_choice(self, rows: Sequence[ListRow]) -> Hashable:
        """Return the server that lacks one thing which can be given here, else the first row."""
        if (near := first_step(self._places)) is not None:
            return near.candidate.endpoint
        return next((row.key for row in rows if row.key is not None), None)

    def _show_status(self) -> None:
        words = [content(((piece, MUTED),)) for piece in self._status_words()]
        self._status.show(words, content((("F5", STRONG), (" now ", MUTED))))

    def _status_words(self) -> tuple[str, ...]:
        if self._looked_at_s is None:
            return ("Checking",)
        now_s = self._clock()
        left_s, is_wide = self._next_look_at_s - now_s, self._status.size.width >= _STATUS_WIDTH
        places = formatting.counted(len(self._candidates), "address", "es")
        words = f"{places} checked" if is_wide else "Checked"
        words = f"{words} {formatting.ago(now_s - self._looked_at_s)} ago"
        return words, f"; next check in {formatting.ago(left_s)}" if left_s > 0 else "; checking"

    def on_key(self, event: events.Key) -> None:
        """Go on in the prompt of the chat with a letter, which is no key here."""
        is_text = event.is_printable and (
            event.key == "slash" or event.key not in self.active_bindings
        )
        if is_text or self.is_leaving:
            self._connect.leave_page(event)

    def on_paste(self, event: events.Paste) -> None:
        """Take one word for an address, and more for a prompt."""
        if len(event.text.split()) > 1:
            self._connect.leave_page(event)
        else:
            event.stop()
            self.ask_address(safe_line(event.text.strip()))

    def action_move(self, by: int) -> None:
        self._is_touched = True
        self._rows.move(by)

    def action_page(self, direction: int) -> None:
        self._is_touched = True
        self._rows.page(direction)

    def action_take_number(self, number: int) -> None:
        keys = self._rows.keys
        if self.is_active and number <= len(keys):
            self._rows.choose(keys[number - 1])
            self.action_take()

    def action_look_now(self) -> None:
        self.starts.look_at_disk()
        self._connect.look_now()

    def action_leave(self) -> None:
        self._connect.leave_page()

    def action_search(self) -> None:
        self._connect.search_without_server()

    @on(RowList.Taken)
    def action_take(self) -> None:
        """Do what the chosen row says, unless a dialog already asks."""
        if not self.is_active:
            return
        self._is_touched = True
        here = self.starts.here
        match self._rows.key:
            case "address":
                self.ask_address()
            case "last":
                self._connect.start_engine(here.last_model)
            case "demo" if here.offer is not None:
                self._connect.start_engine(here.offer.name)
            case "files":
                self.starts.begin(self.starts.start_engine)
            case "install":
                self.app.copy_to_clipboard(here.engine_command)
            case key:
                for place in self._places:
                    if place.candidate.endpoint == key:
                        self._take(place)

    def _take(self, place: ServerRow) -> None:
        match place:
            case ServerRow(candidate=candidate) if candidate.can_be_allowed:
                self.ask_address(candidate.endpoint.url)
            case ServerRow(step=Step.CHOOSE):
                self._connect.take_candidate(place.candidate)
            case ServerRow(step=Step.START, start=start) if start is not None:
                self.starts.begin(partial(self.starts.start, start))
            case ServerRow(step=Step.START_WITH_FILE):
                self.starts.begin(partial(self.starts.start_with_file, place))
            case _:
                self._connect.look_now()

    def ask_address(self, typed: str = "") -> None:
        dialog = AddressDialog(self._connect.try_address, typed)
        self.app.push_screen(dialog, self._connect.take_candidate)

    def leave(self) -> bool:
        """Leave as soon as no dialog holds what was typed; return whether nothing is in the way."""
        self.is_leaving = True
        if isinstance(self.app.screen, StartDialog):
            self.app.screen.dismiss(None)
        is_free = self.app.screen is self
        if is_free and self.is_mounted:
            self.dismiss(None)
        return is_free
