"""A tiny chat screen around the prompt, with the keys of the real one.

`python -m tests.support.prompt_app` shows facts and actions above the prompt.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from lmchat.tui.commands import COMMANDS, Scope, bindings
from lmchat.tui.quirks.driver import guard_terminal
from lmchat.tui.widgets.pill import Pill
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.queue_card import QueueCard
from tests.support.tui_host import _FOLDER, Host


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


ACTIONS = {command.action.partition("(")[0] for command in COMMANDS}


class PromptApp(Host):
    CSS_PATH: ClassVar = [*Host.CSS_PATH, _FOLDER / "prompt.tcss"]
    CSS = "#log { height: 1fr; }"

    def __init__(self, **how) -> None:
        super().__init__(screen=ChatLike, **how)
        self.actions: list[tuple] = []
        self.kept: list[Message] = []

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
