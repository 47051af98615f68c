"""A tiny app around one widget or screen: themes, sizes and styles of the real one; it lists posted facts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from textual._context import visible_screen_stack
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

from lmchat.tui.icons import ASCII_CLASS
from lmchat.tui.themes import THEMES

_SPEC = importlib.util.find_spec("lmchat.tui")
_FOLDER = Path(_SPEC.submodule_search_locations[0])


class Host(App[None]):
    CSS_PATH: ClassVar = [_FOLDER / name for name in ("lmchat.tcss", "dialogs.tcss")]
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (80, "-mid"), (110, "-wide"), (160, "-roomy")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (30, "-tall")]
    TITLE = "lmchat"
    AUTO_FOCUS = None

    def __init__(
        self,
        left: Widget | None = None,
        right: Widget | None = None,
        last: Widget | None = None,
        *,
        screen: Callable[[], Screen] | None = None,
        theme: str = "lmchat-dark",
        is_ascii: bool = False,
        before: Callable[[Host], None] | None = None,
    ) -> None:
        super().__init__()
        self.left, self.right, self.last = left, right, last
        self.first_screen, self.before = screen, before
        self.facts: list[Message] = []
        self.results: list[object] = []
        for own in THEMES:
            self.register_theme(own)
        self.theme = theme
        self.animation_level = "none"
        if is_ascii:
            self.add_class(ASCII_CLASS)

    def compose(self) -> ComposeResult:
        with Horizontal(id="body"):
            yield from self._given(self.left)
            yield Vertical(id="chat")
            yield from self._given(self.right)
        yield from self._given(self.last)

    @staticmethod
    def _given(widget: Widget | None) -> Iterable[Widget]:
        return () if widget is None else (widget,)

    def on_mount(self) -> None:
        self.screen.query_one("#chat").styles.width = "1fr"
        if self.first_screen is not None:
            self.push_screen(self.first_screen(), self.results.append)
        if self.before is not None:
            self.call_later(self.before, self)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (action == "command_palette" and isinstance(self.screen, ModalScreen))

    async def _on_message(self, message: Message) -> None:
        if type(message).__module__.startswith("lmchat."):
            self.facts.append(message)
        await super()._on_message(message)

    def of(self, kind: type) -> list:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def text_of(widget: Widget) -> str:
    """What a widget without children shows, without its colours."""
    return "\n".join(strip.text.rstrip() for strip in widget.render_lines(widget.outer_size.region))


def screen_text(app: App) -> str:
    """What the whole screen shows."""
    width, height = app.size
    visible_screen_stack.set(app._background_screens)  # else a dialog is drawn, and kept, without the chat
    lines = app.screen._compositor.render_strips()
    text = "\n".join(strip.text.rstrip() for strip in lines[:height]) if width else ""
    return text.replace("\u00a0", " ")
