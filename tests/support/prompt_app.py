"""A tiny chat screen around the prompt, with the keys of the real one."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen

from lmchat.tui.commands import COMMANDS, Scope, bindings
from lmchat.tui.widgets.pill import Pill
from lmchat.tui.widgets.prompt import Prompt
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.queue_card import QueueCard
from tests.support.tui_host import _FOLDER, Host


class ChatLike(Screen[None]):
    BINDINGS = bindings(Scope.CHAT)
    AUTO_FOCUS = "PromptInput"

    def compose(self) -> ComposeResult:
        yield Vertical(id="log")
        yield Prompt()

    @on(PromptInput.Submitted)
    @on(PromptInput.Drafted)
    @on(PromptInput.Paged)
    @on(QueueCard.Edit)
    @on(QueueCard.Remove)
    @on(Pill.Pressed)
    def keep_fact(self, fact: Message) -> None:
        self.app.kept.append(fact)

    def __getattr__(self, name: str):
        if name.startswith("action_") and name.removeprefix("action_") in ACTIONS:
            return lambda *args: self.app.actions.append((name.removeprefix("action_"), *args))
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

    @property
    def prompt(self) -> Prompt:
        return self.screen.query_one(Prompt)
