"""The welcome screen: what the search for a server found, and what the user can do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.screen import Screen
from textual.widgets import Static

from lmchat.app.tui.messages import AppMessage, ShowChat
from lmchat.app.tui.welcome.server_rows import (
    LocalSetup,
    ServerRow,
    default_choice,
    first_way,
    headline_and_advice,
    server_rows,
    welcome_rows,
)
from lmchat.app.tui.widgets.key_bar import KeyBar
from lmchat.app.tui.widgets.line import MUTED, STRONG, LineWidget, content, styled
from lmchat.app.tui.widgets.message_row import MessageRow
from lmchat.app.tui.widgets.row_list import RowList
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.discovery.status import ServerStatus, usable_of
from lmchat.core.servers.endpoint import Endpoint

_HINTS = (("enter", "choose"), ("up down", "move"), ("ctrl+k", "search"), ("escape", "chat"))
_LAST_HINTS = (("ctrl+p", "commands"), ("f1", "help"))
_WAITING = "Your message waits until a model is ready."
_OTHER_ROWS = 7  # beside those of the list
_LEAST_ROWS_WITH_ADVICE = 16  # of the screen


class WelcomeFacts(Struct, frozen=True, kw_only=True):
    """Facts about servers and this machine."""

    servers: Sequence[ServerStatus] = ()  # of the last search, best first
    searched_at_s: float | None = None  # end of the last search
    search_pause_s: float = 0.0  # between searches
    machine: LocalSetup = LocalSetup()
    # why the last start failed, or why the model that the user named cannot be used
    problem: str = ""
    has_waiting_message: bool = False


class WelcomeScreen(Screen[None]):
    """Servers and ways to one; `show` sets its facts, and it posts what the user wants.

    It posts to the app itself, which gets the message before the next key.
    """

    class Chosen(AppMessage):
        """The user wants to use a server, or another way to one."""

        # the server, "models" for the list of models, or the key of a way in `welcome_rows`
        choice: ServerRow | str
        typed: str = ""  # a pasted word for the way "address"

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "accept"),
        ("up", "move(-1)"),
        ("down", "move(1)"),
        ("pageup", "page(-1)"),
        ("pagedown", "page(1)"),
        *((digit, f"accept_number({digit})") for digit in "123456789"),
        ("f5", "app.run('check')"),
        ("ctrl+k", "app.run('search')"),
        ("ctrl+o", "pick_model"),
        ("escape", "leave"),
    ]
    _rows = query_one(RowList)
    _headline = query_one("#welcome-headline", Static)
    _advice = query_one(".advice", Static)
    _problem = query_one("#welcome-problem", Static)
    _status = query_one("#welcome-status", LineWidget)

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._is_leaving = False  # it closes as soon as no dialog is over it
        self._clock = clock
        self._facts = WelcomeFacts()
        self._servers: tuple[ServerRow, ...] = ()
        self._has_user_chosen = False  # until then, `draw` chooses the row

    def compose(self) -> ComposeResult:
        with Vertical(id="welcome"), Vertical(classes="page"):
            yield LineWidget([styled("lmchat", STRONG)], classes="name gap")
            yield Static("", id="welcome-headline")
            yield Static("", classes="advice gap")
            yield RowList()
            yield Static("", id="welcome-problem", classes="gap")
            yield LineWidget(id="welcome-status")
        yield MessageRow(lift=1)
        yield KeyBar()

    def on_mount(self) -> None:
        self._problem.display = False
        self._rows.looks_focused = True  # the screen itself has the keys of the list
        self.query_one(KeyBar).show(_HINTS, _LAST_HINTS)
        self.call_after_refresh(self.draw)  # the width of the rows is known then
        self.set_interval(1.0, self._show_status)

    def on_screen_resume(self) -> None:
        if self._is_leaving:  # `leave` was called below a dialog
            self.call_later(self.leave)

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    def show(self, facts: WelcomeFacts) -> None:
        self._facts = facts
        self.draw()

    # Drawing

    def draw(self) -> None:
        """Leave out blank rows if there is no room for all.

        Until the user moves the choice, it is that of `default_choice`, or else the first way.
        """
        machine = self._facts.machine
        self._servers = server_rows(self._facts.servers, machine)
        # widgets are missing while it is being opened, closed, or lmchat ends
        is_open = self.is_attached and self in self.app.screen_stack
        if not (self.is_mounted and is_open and self.children):
            return
        self._draw_sentences()
        rows = welcome_rows(machine, self._servers, self._rows.text_width)
        if len(rows) > self.size.height - _OTHER_ROWS:
            rows = [row for row in rows if row.pieces]
        if rows != self._rows.rows:  # showing the same rows again would scroll to the chosen one
            # a `RowList` never shrinks: it would keep room for rows that are gone
            self._rows.styles.max_height = len(rows)
            default = default_choice(self._servers) or first_way(rows)
            self._rows.show(rows, choose=None if self._has_user_chosen else default)
        self._show_status()

    def _draw_sentences(self) -> None:
        """Draw what was found, what the user can do, and why the last start failed."""
        # unlike those of the probes, these depend on what this machine has
        servers = [replace(row.status, next_step=row.next_step) for row in self._servers]
        headline, advice = headline_and_advice(servers, default_choice(self._servers))
        if not advice and not usable_of(servers):
            has_engine = self._facts.machine.offer is not None
            way = "try the built-in engine" if has_engine else "choose “Type an address”"
            advice = f"Start one, or {way}. lmchat finds a server that appears."
        chosen = next((row for row in self._servers if row.key == self._rows.key), None)
        if self._has_user_chosen and chosen is not None and chosen.next_step:
            advice = f"{chosen.name}: {chosen.next_step}"  # its row may have no room for all of it
        if self._facts.has_waiting_message:
            headline = f"{_WAITING} {headline}"
        self._headline.update(styled(headline, STRONG))
        self._advice.update(styled(advice, MUTED))
        self._advice.display = self.size.height >= _LEAST_ROWS_WITH_ADVICE
        self._problem.display = bool(self._facts.problem)
        self._problem.update(styled(f"! {self._facts.problem}", "$error"))

    def _show_status(self) -> None:
        """Show when the last search was and the next one is, and the key that searches at once."""
        pieces = ["Checking"]
        facts = self._facts
        if facts.searched_at_s is not None:
            ago_s = self._clock() - facts.searched_at_s
            left_s = facts.search_pause_s - ago_s
            pieces = [
                f"Checked {units.rough_time(ago_s)} ago",
                f"; next check in {units.rough_time(left_s)}" if left_s > 0 else "; checking",
            ]
        keys = content((("F5", STRONG), (" now ", MUTED)))
        self._status.show([styled(piece, MUTED) for piece in pieces], keys)

    # Keys

    def on_paste(self, event: events.Paste) -> None:
        """Ask about a pasted word as an address; `LMChatApp.field_for` takes several words."""
        event.stop()
        self.app.post_message(self.Chosen("address", safe_line(event.text)))

    def action_move(self, by: int) -> None:
        self._has_user_chosen = True
        self._rows.move(by)
        self._draw_sentences()

    def action_page(self, direction: int) -> None:
        self._has_user_chosen = True
        self._rows.page(direction)
        self._draw_sentences()

    def action_accept_number(self, number: int) -> None:
        """Choose and take the row with a digit, if there is one."""
        keys = self._rows.keys
        if number <= len(keys):
            self._rows.choose(keys[number - 1])
            self.action_accept()

    def action_pick_model(self) -> None:
        self.app.post_message(self.Chosen("models"))

    def action_leave(self) -> None:
        self.app.post_message(ShowChat())

    @on(RowList.Clicked)
    def action_accept(self) -> None:
        if not self.is_active:
            return
        self._has_user_chosen = True
        key = self._rows.key
        if isinstance(key, Endpoint):
            servers = {server.status.endpoint: server for server in self._servers}
            self.app.post_message(self.Chosen(servers[key]))
        elif isinstance(key, str):  # another way to a server
            self.app.post_message(self.Chosen(key))

    def leave(self) -> None:
        """Close the screen, as a server is ready or the user wants the chat.

        After a dialog above it: what was typed into that must not be lost.
        """
        self._is_leaving = True  # `on_screen_resume` calls this again
        if self.app.screen is self and self.is_mounted:
            self.dismiss(None)
