"""The page for a machine where no model server answers yet: what was looked for, and what would help."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Static

from lmchat.domain.server import Candidate, Endpoint, Verdict
from lmchat.errors import EndpointNotAllowed
from lmchat.safe_text import safe_line
from lmchat.tui import figures
from lmchat.tui.intents import ChooseCandidate, LookNow, SearchSessions, TryAddress
from lmchat.tui.screens.ask_dialog import AskDialog
from lmchat.tui.screens.dialog import fit_height
from lmchat.tui.screens.patient_screen import PatientScreen
from lmchat.tui.screens.welcome_rows import ADDRESS, candidate_key, welcome_rows
from lmchat.tui.signs import signs_for
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.line import MUTED, STRONG, Line, content
from lmchat.tui.widgets.row_list import ListRow, RowList

_HINTS = (("Enter", "choose"), ("F5", "look now"), ("^K", "search sessions"))
_LAST_HINTS = (("^P", "commands"), ("F1", "help"))
_NOTHING = "No model server answers on this machine yet."
_ADVICE = "Start one, or type an address. This page goes on by itself when a server appears."
_OTHER = "The server that you named does not answer. {} does."
_WORDS: dict[Verdict, str] = {
    Verdict.NEEDS_KEY: "{} answers, but wants a key.",
    Verdict.KEY_REJECTED: "{} answers, but refused the key.",
    Verdict.HOST_BLOCKED: "{} answers, but not to this host name.",
}


class WelcomeScreen(PatientScreen[None]):
    """Handed what was found; posts what the user wants. It is left by whoever finds a server."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "choose", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("f5", "look_now", "look now", show=False),
        Binding("ctrl+k", "search", "search sessions", show=False),
    ]

    _rows = query_one(RowList)
    _headline = query_one("#welcome-headline", Static)
    _status = query_one("#welcome-status", Line)

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._shown_s = 0.0
        self._candidates: tuple[Candidate, ...] = ()
        self._looked_s_ago: float | None = None
        self._next_look_s: float | None = None
        self._drawn: Sequence[ListRow] = ()

    def compose(self) -> ComposeResult:
        """Headline, what can be done, what was found, keys."""
        with Vertical(id="welcome"), Vertical(classes="page"):
            yield Line([content((("lmchat", STRONG),))], classes="name gap")
            yield Static(content(((_NOTHING, STRONG),)), id="welcome-headline")
            yield Static(content(((_ADVICE, MUTED),)), classes="advice gap")
            yield RowList()
            yield Line(id="welcome-status")
        yield KeysRow()

    def on_mount(self) -> None:
        """Keys go to the list."""
        self._rows.set_focused(has_keys=True)
        self.query_one(KeysRow).show(_HINTS, _LAST_HINTS)
        self.call_after_refresh(self._draw)
        self.set_interval(1.0, self._show_status)

    def on_resize(self, event: events.Resize) -> None:
        """Fit the table to the new size."""
        del event
        self.call_after_refresh(self._draw)

    def show(
        self,
        candidates: Sequence[Candidate],
        looked_s_ago: float | None = None,
        next_look_s: float | None = None,
    ) -> None:
        """Show what was found how long ago, and in how many seconds the next look comes."""
        self._candidates = tuple(candidates)
        self._looked_s_ago, self._next_look_s = looked_s_ago, next_look_s
        self._shown_s = self._clock()
        if self.can_show:
            self._draw()

    def _draw(self) -> None:
        width = self._rows.text_width
        if not width:
            return
        rows = welcome_rows(self._candidates, width, signs_for(self))
        if rows != self._drawn:
            self._drawn = rows
            self._rows.show(rows)
            self._headline.update(content(((self._headline_words(), STRONG),)))
        self._show_status()
        fit_height(self._rows, len(rows), self.size.height - 1)

    def _headline_words(self) -> str:
        waiting = next((one for one in self._candidates if one.verdict in _WORDS), None)
        if waiting is not None:
            return _WORDS[waiting.verdict].format(waiting.product.value)
        usable = next((one for one in self._candidates if one.verdict.is_usable), None)
        return _NOTHING if usable is None else _OTHER.format(usable.product.value)

    def _show_status(self) -> None:
        words = [content(((piece, MUTED),)) for piece in self._status_words()]
        self._status.show(words, content((("F5", STRONG), (" now ", MUTED))))

    def _status_words(self) -> tuple[str, ...]:
        if self._looked_s_ago is None:
            return ("Looking",)
        count, since_s = len(self._candidates), self._clock() - self._shown_s
        words = f"{count} place{'' if count == 1 else 's'}, {figures.ago(self._looked_s_ago + since_s)} ago"
        if self._next_look_s is None:
            return (words,)
        left_s = self._next_look_s - since_s
        return words, f"; looks again in {figures.ago(left_s)}" if left_s > 0 else "; looking"

    def on_key(self, event: events.Key) -> None:
        """Let the address be typed without choosing its row first."""
        typed = event.character or ""
        dialog = self.app.screen
        if event.is_printable and isinstance(dialog, AskDialog):  # it came with the key that opened it
            dialog.add_typed(typed)
        elif event.is_printable and (typed.isalnum() or typed == "["):
            self.ask_address(typed)
        else:
            return
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """Take an address that is pasted."""
        event.stop()
        self.ask_address(safe_line(event.text.strip()))

    def action_move(self, by: int) -> None:
        """Choose another row."""
        self._rows.move(by)

    def action_look_now(self) -> None:
        """Ask for a look."""
        self.post_message(LookNow())

    def action_search(self) -> None:
        """Ask for the search of sessions."""
        self.post_message(SearchSessions())

    def action_take(self) -> None:
        """Do what the chosen row says, unless something already asks."""
        if not self.is_active:
            return
        if self._rows.key == ADDRESS:
            self.ask_address()
            return
        for candidate in self._candidates:
            if candidate_key(candidate) == self._rows.key:
                self.post_message(ChooseCandidate(candidate))
                return

    def ask_address(self, typed: str = "") -> None:
        """Ask for an address, beginning with what was typed before."""
        dialog = AskDialog(
            "Address of the server",
            text="Host and port, as in 127.0.0.1:8080. With or without http:// and /v1.",
            value=typed,
            verb="look there",
            check=_problem_of,
        )
        self.app.push_screen(dialog, self._address_typed)

    def _address_typed(self, typed: str | None) -> None:
        if typed:
            self.post_message(TryAddress(typed))

    @on(RowList.Taken)
    def take_clicked(self, event: RowList.Taken) -> None:
        """Do what the clicked row says."""
        event.stop()
        self.action_take()


def _problem_of(typed: str) -> str:
    """Return why a text is no address, or nothing."""
    try:
        Endpoint.parse(typed)
    except EndpointNotAllowed as error:
        return error.message
    return ""
