"""Asks before a model server is started, or ended: exactly which command, and how long the server lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.widget import Widget
from textual.widgets import Static

from lmchat.domain.candidate import Lifetime, ServerStart
from lmchat.domain.server import Product
from lmchat.text import safe_line
from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.widgets.line import MUTED, STRONG, content

_LIVES: Mapping[Lifetime, str] = {
    Lifetime.BRIEF: "The server goes on when lmchat ends.",
    Lifetime.FREE: "It runs in the background, and goes on when lmchat ends.",
    Lifetime.TIED: "It runs in the background with the model in memory, and ends when lmchat does.",
}
_ENDS: Mapping[Product, str] = {Product.LM_STUDIO: "`lms server stop` ends it."}


class StartDialog(ConfirmDialog):
    """Dismisses with True where the command shall run; whoever finds a server meanwhile closes it."""

    def __init__(self, start: ServerStart) -> None:
        super().__init__(f"Start {start.product.value}?", verb="run this command")
        self._start = start

    def compose_content(self) -> Iterable[Widget]:
        """Return the command and what becomes of it."""
        lives = " ".join((_LIVES[self._start.lifetime], _ENDS.get(self._start.product, ""))).rstrip()
        yield Static(content(((safe_line(self._start.command), STRONG),)), classes="words command gap")
        yield Static(content(((lives, MUTED),)), classes="words gap")


class EndDialog(ConfirmDialog):
    """Dismisses with True where what was started shall end."""

    leave_word = "let it run"

    def __init__(self, start: ServerStart, *, log_file: str) -> None:
        name = safe_line(start.short)
        super().__init__(
            f"End {name}?",
            text=f"{name} runs, but no server answers at {safe_line(start.endpoint.netloc)} yet.\n\n"
            f"Its output: {log_file}",
            verb="end it",
        )
