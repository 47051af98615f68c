"""The welcome page: what the search for a server found, and what the user can do about it.

Sentences come first, then rows with servers and other ways to one, then a status line with the
times of the searches. The first rows wait a moment for the disk to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from msgspec.structs import replace
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Static

from lmchat import units
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.probe_result import ProbeResult
from lmchat.services.server_rows import (
    NO_SERVER,
    RowAction,
    ServerRow,
    first_step,
    headline_and_advice,
    server_rows,
)
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.connect import Connect, WelcomePage
from lmchat.tui.controllers.server_starts import ServerStarts
from lmchat.tui.dialogs.ask_dialog import AddressDialog, ConfirmDialog
from lmchat.tui.welcome.welcome_rows import welcome_rows
from lmchat.tui.widgets.key_bar import KeyBar
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, content, styled
from lmchat.tui.widgets.row_list import RowList

_HINTS = (("Enter", "choose"), ("F5", "check now"), ("^K", "search"), ("Esc", "chat"))
_LAST_HINTS = (("^P", "commands"), ("F1", "help"))
_WAITING = "Your message waits until a server answers."
_BESIDE, _BESIDE_SHORT = 7, 4  # rows of the screen without those of the list
_DISK_WAIT_S = 0.5  # how long the rows wait for the disk's model files: all appear at once


class WelcomeScreen(WelcomePage):
    """Page of servers and ways to one; `Connect` opens it, and closes it when a server answers."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "take"),
        ("up", "move(-1)"),
        ("down", "move(1)"),
        ("pageup", "page(-1)"),
        ("pagedown", "page(1)"),
        *((digit, f"take_number({digit})") for digit in "123456789"),
        ("f5", "check_now"),
        ("ctrl+k", "search"),
        ("escape", "leave"),
    ]
    _rows = query_one(RowList)
    _headline = query_one("#welcome-headline", Static)
    _advice = query_one(".advice", Static)
    _problem = query_one("#welcome-problem", Static)
    _status = query_one("#welcome-status", LineWidget)

    def __init__(self, chat: Chat, connect: Connect) -> None:
        super().__init__()
        workspace = chat.workspace
        self._connect = connect
        self.has_waiting_message = False  # for a server
        self.is_leaving = False  # whether the page closes as soon as no dialog is over it
        self.starts = ServerStarts(self, chat, connect)
        self._clock = workspace.clock
        self._results: Sequence[ProbeResult] = ()
        self._servers: tuple[ServerRow, ...] = ()
        self._searched_at_s: float | None = None
        self._next_search_at_s = 0.0
        self._is_disk_wait_over = False  # whether the rows no longer wait for the disk
        self._is_touched = False  # whether the user moved; until then the best row is chosen

    @property
    def can_show(self) -> bool:
        """Whether the page is open and all its widgets exist, nested ones included."""
        is_there = self.is_mounted and self.is_attached and bool(self.children)
        return is_there and self in self.app.screen_stack

    def compose(self) -> ComposeResult:
        with Vertical(id="welcome"), Vertical(classes="page"):
            yield LineWidget([styled("lmchat", STRONG)], classes="name gap")
            yield Static(styled(NO_SERVER, STRONG), id="welcome-headline")
            yield Static("", classes="advice gap")
            yield RowList()
            yield Static("", id="welcome-problem", classes="gap")
            yield LineWidget(id="welcome-status")
        yield KeyBar()

    def on_mount(self) -> None:
        self._problem.display = False
        self._rows.set_focused(is_focused=True)
        self.query_one(KeyBar).show(_HINTS, _LAST_HINTS)
        self.starts.read_disk()
        self.call_after_refresh(self.draw)
        self.set_interval(1.0, self._show_status)
        self.set_timer(_DISK_WAIT_S, self.end_wait)

    def on_screen_resume(self) -> None:
        if self.is_leaving:  # the dialog above, which was not to be lost, is closed now
            self.call_later(self.leave)

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    def end_wait(self) -> None:
        """Draw what is known, even if the disk is still being read."""
        self._is_disk_wait_over = True
        self.draw()

    def show(
        self, results: Sequence[ProbeResult], searched_s_ago: float, next_search_s: float
    ) -> None:
        """Show what the last search found.

        `searched_s_ago` is the time since that search, `next_search_s` the time until the next one.
        """
        now_s = self._clock()
        self._results = results
        self._searched_at_s = now_s - searched_s_ago
        self._next_search_at_s = now_s + next_search_s
        self.draw()
        if not self.is_leaving:
            self.starts.read_programs()

    def show_problem(self, words: str) -> None:
        """Show why the start of a server failed."""
        self.starts.problem = words
        self.draw()

    # Drawing

    @on(ServerStarts.Learned)
    def draw(self) -> None:
        """Draw the sentences, the rows and the status line.

        Draw nothing while the disk is being read for the first time, and the wait for it is not
        over. Blank rows are left out if there is no room for all. Until the user moves the choice,
        the best row is chosen.
        """
        machine = self.starts.machine
        self._servers = server_rows(self._results, machine)
        is_waiting = not (self._is_disk_wait_over or self.starts.has_read_disk)
        if is_waiting or not self.can_show:
            return
        self._draw_sentences()
        rows = welcome_rows(machine, self._servers, self._rows.text_width)
        if len(rows) > self.size.height - (_BESIDE_SHORT if self.has_class("-short") else _BESIDE):
            rows = [row for row in rows if row.pieces]
        if rows != self._rows.rows:
            self._rows.styles.max_height = len(rows)
            best = first_step(self._servers) or rows[0].key
            self._rows.show(rows, choose=None if self._is_touched else best)
        self._show_status()

    def _draw_sentences(self) -> None:
        """Draw what was found, what the user can do, and why the last start failed.

        If a message waits for a server, this is said before the advice; on a small screen, which
        has no advice, it replaces the headline.
        """
        # with the next steps of the rows, which are based on what this machine has
        servers = [replace(row.probed, next_step=row.next_step) for row in self._servers]
        headline, advice = headline_and_advice(servers)
        if not advice and not any(server.verdict.is_usable for server in servers):
            has_engine = self.starts.machine.offer is not None
            way = "try the built-in engine" if has_engine else "type an address"
            advice = f"Start one, or {way}. This page continues when a server appears."
        if self.has_waiting_message:
            advice = f"{_WAITING} {advice}"
            if not self._advice.display:  # the style sheet hides it on a small screen
                headline = _WAITING
        self._headline.update(styled(headline, STRONG))
        self._advice.update(styled(advice, MUTED))
        self._problem.display = bool(self.starts.problem)
        self._problem.update(styled(f"! {self.starts.problem}", "$error"))

    def _show_status(self) -> None:
        """Show in the status line when the searches are, and the key that searches at once."""
        pieces = ["Checking"]
        if self._searched_at_s is not None:
            now_s = self._clock()
            left_s = self._next_search_at_s - now_s
            pieces = [
                f"{units.counted(len(self._results), 'address', 'es')} checked",
                f" {units.ago(now_s - self._searched_at_s)} ago",
                f"; next check in {units.ago(left_s)}" if left_s > 0 else "; checking",
            ]
        keys = content((("F5", STRONG), (" now ", MUTED)))
        self._status.show([styled(piece, MUTED) for piece in pieces], keys)

    # Keys

    def on_key(self, event: events.Key) -> None:
        """Go to the chat and type a letter there, if it is no key of this page.

        While the page is leaving, all keys go there. `/`, which begins a command, is always typed.
        """
        is_key_here = event.key in self.active_bindings and event.key != "slash"
        is_text = event.is_printable and not is_key_here
        if is_text or self.is_leaving:
            self._connect.leave_page(event)

    def on_paste(self, event: events.Paste) -> None:
        """Ask about a pasted word as an address; take a text of several words to the prompt."""
        if len(event.text.split()) > 1:
            self._connect.leave_page(event)
        else:
            event.stop()
            self.ask_address(safe_line(event.text))

    def action_move(self, by: int) -> None:
        self._is_touched = True
        self._rows.move(by)

    def action_page(self, direction: int) -> None:
        self._is_touched = True
        self._rows.page(direction)

    def action_take_number(self, number: int) -> None:
        """Choose and take the row with a digit, if there is one and no dialog is open."""
        keys = self._rows.keys
        if self.is_active and number <= len(keys):
            self._rows.choose(keys[number - 1])
            self.action_take()

    def action_check_now(self) -> None:
        self.starts.read_disk()
        self._connect.check_now()

    def action_leave(self) -> None:
        self._connect.leave_page()

    def action_search(self) -> None:
        self._connect.search_sessions()

    @on(RowList.Taken)
    def action_take(self) -> None:
        """Do what the chosen row offers, unless a dialog is open."""
        if not self.is_active:
            return
        self._is_touched = True
        machine = self.starts.machine
        match self._rows.key:
            case "address":
                self.ask_address()
            case "last":
                self._connect.start_engine(machine.last_model)
            case "demo" if machine.offer is not None:
                self._connect.start_engine(machine.offer.name)
            case "files":
                self.starts.begin(self.starts.start_engine)
            case "install":
                self.app.copy_to_clipboard(machine.engine_command)
            case endpoint:  # the keys of the servers are their addresses
                for server in self._servers:
                    if server.probed.endpoint == endpoint:
                        self._take_server(server)

    def _take_server(self, server: ServerRow) -> None:
        """Do the next step for a server that was chosen.

        If its host must be allowed first, ask about its address. Otherwise use it, or start it; if
        none of these is its action, search at once.
        """
        if server.probed.can_be_allowed:
            self.ask_address(server.probed.endpoint.url)
        elif server.action is RowAction.CHOOSE:
            self._connect.take_result(server.probed)
        elif server.start is not None:
            self.starts.begin(partial(self.starts.start, server.start))
        else:
            self._connect.check_now()

    def ask_address(self, typed: str = "") -> None:
        """Ask for an address, with a text in the input at first; use the server that answers."""
        dialog = AddressDialog(self._connect.questions.try_address, typed)
        self.app.push_screen(dialog, self._connect.take_result)

    def leave(self) -> bool:
        """Close the page, and return True; if a dialog is above it, close when that is left.

        In that case return False: what is typed there must not be lost. Only a question, which
        holds no text, is closed at once.
        """
        self.is_leaving = True
        if isinstance(self.app.screen, ConfirmDialog):
            self.app.screen.dismiss(None)
        is_free = self.app.screen is self
        if is_free and self.is_mounted:
            self.dismiss(None)
        return is_free
