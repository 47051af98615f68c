"""The page for a machine where no model server answers yet: what was looked for, and what would help."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType

from lmchat.services.candidates import ServerRow, Step
from lmchat.text import safe_line
from lmchat.tui.intents import ChooseCandidate, LookNow, SearchSessions
from lmchat.tui.screens.address_dialog import AddressDialog
from lmchat.tui.screens.ask_dialog import AskDialog
from lmchat.tui.screens.start_dialog import EndDialog, StartDialog
from lmchat.tui.screens.welcome_choices import ADDRESS, DEMO, FILES, INSTALL
from lmchat.tui.screens.welcome_engine import WelcomeEngine
from lmchat.tui.screens.welcome_rows import candidate_key
from lmchat.tui.widgets.row_list import RowList


class WelcomeScreen(WelcomeEngine):
    """Handed what was found; posts what the user wants. It is left by whoever finds a server."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "choose", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        *(Binding(digit, f"take_number({digit})", show=False) for digit in "123456789"),
        Binding("f5", "look_now", "look now", show=False),
        Binding("ctrl+k", "search", "search sessions", show=False),
    ]

    def on_key(self, event: events.Key) -> None:
        """Let the address be typed without choosing its row first."""
        typed = event.character or ""
        dialog = self.app.screen
        if event.is_printable and isinstance(dialog, AskDialog):  # it came with the key that opened it
            dialog.add_typed(typed)
        elif event.is_printable and (typed.isalpha() or typed == "["):
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
        self.is_touched = True
        self.rows.move(by)

    def action_page(self, direction: int) -> None:
        """Choose a row about a page away."""
        self.is_touched = True
        self.rows.page(direction)

    def action_take_number(self, number: int) -> None:
        """Do what the row of this number says."""
        keys = self.rows.keys
        if self.is_active and number <= len(keys):
            self.rows.choose(keys[number - 1])
            self.action_take()

    def action_look_now(self) -> None:
        """Ask for a look."""
        self.look_at_disk()
        self.post_message(LookNow())

    def action_search(self) -> None:
        """Ask for the search of sessions."""
        self.post_message(SearchSessions())

    def action_take(self) -> None:
        """Do what the chosen row says, unless something already asks."""
        if not self.is_active:
            return
        self.is_touched = True
        offered = {
            ADDRESS: self.ask_address,
            DEMO: self.start_demo,
            FILES: self.pick_file,
            INSTALL: self.copy_command,
        }
        key = str(self.rows.key)
        if key in offered:
            offered[key]()
            return
        for place in self.places:
            if candidate_key(place.candidate) == key:
                self._take(place)
                return

    def _take(self, place: ServerRow) -> None:
        match place:
            case ServerRow(step=Step.CHOOSE):
                self.post_message(ChooseCandidate(place.candidate))
            case ServerRow(step=Step.START, start=start) if start is not None:
                self.ask_to_start(start)
            case ServerRow(step=Step.START_WITH_FILE):
                self.pick_file_for(place)
            case ServerRow(step=Step.END):
                self.ask_to_end(place)
            case _:
                self.post_message(LookNow())

    def ask_address(self, typed: str = "") -> None:
        """Ask for an address, beginning with what was typed before."""
        self.app.push_screen(AddressDialog(typed))

    def leave(self) -> None:
        """Leave as soon as nothing that was typed would be lost; a question that is moot goes, too."""
        if isinstance(self.app.screen, (StartDialog, EndDialog)):
            self.app.screen.dismiss(None)
        self.tell_what_goes_on()
        self.dismiss(None)

    @on(RowList.Taken)
    def take_clicked(self, event: RowList.Taken) -> None:
        """Do what the clicked row says."""
        event.stop()
        self.action_take()
