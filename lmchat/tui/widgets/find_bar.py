"""Find bar: an input with the position among the hits."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widgets import Input

from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.chat_log.matching import MAX_CHARS
from lmchat.tui.widgets.field import Field


class FindBar(Horizontal):
    """Find bar, created when first opened; Tab leaves it for the message of the hit."""

    BINDINGS = [  # noqa: RUF012 - as Textual declares it
        Binding("escape", "close", show=False),
        Binding("shift+enter,up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
        Binding("tab", "read", show=False),
    ]

    _field = query_one(Field)

    def __init__(self, log: ChatLog) -> None:
        super().__init__()
        self._log = log

    def compose(self) -> ComposeResult:
        yield Field(placeholder="Find in this session")

    def open(self, query: str = "") -> None:
        """Show the bar and focus its input; the last query is selected, so that typing replaces it."""
        self.display = True
        if query:
            self._field.input.value = query
        elif self._field.value:
            self._log.finder.find(self._field.value)
            self._field.input.select_all()
        self.screen.set_focus(self._field.input)  # at once: what is typed next belongs there

    def show_place(self, place: int, count: int, *, is_whole: bool = True) -> None:
        """Show the index of the current hit, 0 for none."""
        found = f"{count}{'' if is_whole else '+'}"
        if not self._field.value:
            words = ""
        elif not count:
            words = "no hits" if is_whole else "…"
        else:
            words = f"{place}/{found}" if place else f"{found} hit{'' if count == 1 else 's'}"
        if words and len(self._field.value) > MAX_CHARS:
            words += f" for the first {MAX_CHARS} characters"
        self._field.show_note(words)

    def action_close(self) -> None:
        self.display = False
        self._log.finder.clear()
        if self._log.typed_into is not None:
            self._log.typed_into.focus()

    def action_step(self, by: int) -> None:
        self._log.finder.step(by)

    def action_read(self) -> None:
        self._log.focus_hit()

    @on(Input.Changed)
    def seek(self, event: Input.Changed) -> None:
        event.stop()
        self._log.finder.seek(event.value)

    @on(Input.Submitted)
    def step(self, event: Input.Submitted) -> None:
        event.stop()
        self._log.finder.step(1)
