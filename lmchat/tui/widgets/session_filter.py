"""The filter over the titles of sessions; made when `/` is first pressed."""

from __future__ import annotations

from textual import on
from textual.binding import Binding
from textual.widgets import Input

from lmchat.tui.intents import FilterSessions, LeaveFilter, TakeFiltered
from lmchat.tui.widgets.text_line import TextLine


class SessionFilter(TextLine):
    """What is typed after `/`; Esc gives it up."""

    BINDINGS = [Binding("escape", "leave(False)", show=False), Binding("down", "leave(True)", show=False)]  # noqa: RUF012 - as Textual declares it

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        """Blink only where things may move."""
        self.cursor_blink = self.app.animation_level != "none"

    def begin(self) -> None:
        """Show it with the cursor in it."""
        self.display = True
        self.screen.set_focus(self)  # at once: what is typed next belongs there

    def action_leave(self, is_kept: bool) -> None:
        """Go to the list; an empty filter is not kept."""
        is_kept = is_kept and bool(self.value)
        if not is_kept:
            self.display = False
            self.value = ""
        self.post_message(LeaveFilter(is_kept))

    @on(Input.Changed)
    def tell_words(self, event: Input.Changed) -> None:
        """Post what is typed."""
        event.stop()
        self.post_message(FilterSessions(event.value))

    @on(Input.Submitted)
    def tell_end(self, event: Input.Submitted) -> None:
        """Post that Enter was pressed."""
        event.stop()
        self.post_message(TakeFiltered())
