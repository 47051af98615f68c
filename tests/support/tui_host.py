"""A tiny app around one widget or screen: themes, sizes and styles of the real one; it lists posted facts."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual._context import visible_screen_stack
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from lmchat.tui.commands import COMMANDS, Scope, bindings
from lmchat.tui.icons import ASCII_CLASS
from lmchat.tui.quirks.driver import guard_terminal
from lmchat.tui.themes import THEMES
from lmchat.tui.widgets.prompt import Pill, Prompt, QueueCard
from lmchat.tui.widgets.prompt_input import PromptInput

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


class ChatLike(Screen[None]):
    BINDINGS = bindings(Scope.CHAT)
    AUTO_FOCUS = "PromptInput"

    def compose(self) -> ComposeResult:
        yield Vertical(Static(id="told", markup=False), id="log")
        yield Prompt()

    @on(PromptInput.Submitted)
    @on(PromptInput.Drafted)
    @on(PromptInput.Paged)
    @on(PromptInput.HomePressed)
    @on(QueueCard.Edit)
    @on(QueueCard.Remove)
    @on(Pill.Pressed)
    def keep_fact(self, fact: Message) -> None:
        self.app.kept.append(fact)
        if isinstance(fact, PromptInput.Submitted):
            self.app.tell(f"sent {fact.text!r}")

    def __getattr__(self, name: str):
        if name.startswith("action_") and name.removeprefix("action_") in ACTIONS:
            return lambda *args: self.app.act((name.removeprefix("action_"), *args))
        raise AttributeError(name)


ACTIONS = {command.action.partition("(")[0].removeprefix("app.") for command in COMMANDS}


class PromptApp(Host):
    CSS_PATH: ClassVar = [*Host.CSS_PATH, _FOLDER / "prompt.tcss"]
    CSS = "#log { height: 1fr; }"

    def __init__(self, **how) -> None:
        super().__init__(screen=ChatLike, **how)
        self.actions: list[tuple] = []
        self.kept: list[Message] = []

    def __getattr__(self, name: str):
        if name.startswith("action_") and name.removeprefix("action_") in ACTIONS:
            return lambda *args: self.act((name.removeprefix("action_"), *args))
        raise AttributeError(name)

    def of(self, kind: type) -> list:
        return [fact for fact in self.kept if isinstance(fact, kind)]

    def act(self, action: tuple) -> None:
        self.actions.append(action)
        self.tell(" ".join(str(part) for part in action))

    def tell(self, words: str) -> None:
        told = self.screen.query_one("#told", Static)
        told.update(f"{told.content}{words}\n")

    @property
    def prompt(self) -> Prompt:
        return self.screen.query_one(Prompt)


async def _nothing() -> None:
    """There is nothing to save."""


if __name__ == "__main__":
    prompt_app = PromptApp()
    guard_terminal(prompt_app, _nothing)
    prompt_app.run()
