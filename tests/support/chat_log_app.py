"""A tiny app around one chat log, the messages that go into it, and what is to be seen of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from msgspec.structs import replace
from rich.style import Style
from textual.app import App, ComposeResult
from textual.message import Message
from textual.widgets import Input

from lmchat.domain.event import TextDelta
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Part,
    ReasoningPart,
    Receipt,
    Role,
    TextPart,
    new_id,
    text_message,
)
from lmchat.tui.icons import ASCII_CLASS
from lmchat.tui.themes import THEMES
from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.chat_log.blocks import Line
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.layout.page import Page
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail
from lmchat.tui.widgets.chat_log.view.painted import PARTIAL_STYLES

_STYLES = Path(find_spec("lmchat.tui").submodule_search_locations[0]) / "chat_log.tcss"
NOON = datetime(2026, 11, 20, 14, 2).astimezone()
RECEIPT = Receipt(
    ttft_ms=190,
    tokens_per_second=44,
    completion_tokens=96,
    is_estimated=False,
    elapsed_ms=2400,
    finish_reason="stop",
)


class LogApp(App[None]):
    CSS_PATH = _STYLES
    CSS = "Screen { layout: vertical; } ChatLog { height: 1fr; } Input { height: 1; border: none; }"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - as Textual declares it
    AUTO_FOCUS = "Input"

    def __init__(self, *, theme: str = "lmchat-dark", is_ascii: bool = False) -> None:
        super().__init__()
        for own in THEMES:
            self.register_theme(own)
        self.theme = theme
        self.facts: list[Message] = []
        if is_ascii:
            self.add_class(ASCII_CLASS)

    def compose(self) -> ComposeResult:
        log = ChatLog()
        log.word_gap_s = 0.0  # each key is a command at once
        yield log
        yield Input()

    def on_chat_log_wanted(self, fact: ChatLog.Wanted) -> None:
        self.facts.append(fact)

    def on_chat_log_new_lines(self, fact: ChatLog.NewLines) -> None:
        self.facts.append(fact)

    @property
    def log_view(self) -> ChatLog:
        return self.query_one(ChatLog)

    def wanted(self) -> list[tuple[str, str]]:
        return [(fact.name, fact.text) for fact in self.facts if isinstance(fact, ChatLog.Wanted)]

    def new_lines(self) -> list[int]:
        return [fact.count for fact in self.facts if isinstance(fact, ChatLog.NewLines)]


def question(text: str, **changes: object) -> ChatMessage:
    return replace(text_message(Role.USER, text), created_at=NOON, **changes)


def answer(text: str, *, thought: str = "", **changes: object) -> ChatMessage:
    parts: tuple[Part, ...] = (ReasoningPart(text=thought),) if thought else ()
    parts += (TextPart(text=text),) if text else ()
    values = {"model": "qwen3-8b", "receipt": RECEIPT} | changes
    return ChatMessage(message_id=new_id(), role=Role.ASSISTANT, parts=parts, created_at=NOON, **values)


def streaming(text: str = "", **changes: object) -> ChatMessage:
    return answer(text, **({"state": AnswerState.STREAMING, "receipt": None} | changes))


async def pour(log: ChatLog, words: str) -> None:
    """Let words of the open answer come, and show them."""
    await log.apply(TextDelta(text=words))
    log.flush()


def rows(log: ChatLog) -> list[str]:
    """What stands on each row of the log, without blanks at the right."""
    size = log.size
    return ["".join(segment.text for segment in strip).rstrip() for strip in log.render_lines(size.region)]


def screen_text(log: ChatLog) -> str:
    return "\n".join(rows(log))


def plain_page(width: int = 60, look: Callable[[str], Style] = lambda _: Style.null()) -> Page:
    return Page(width, {name: look(name) for name in (*PARTIAL_STYLES, "base", "panel")})


def tail_of(*pieces: str) -> MarkdownTail:
    tail = MarkdownTail()
    for piece in pieces:
        tail.feed(piece)
    tail.feed("", is_final=True)
    return tail


def laid_out(tail: MarkdownTail, page: Page) -> list[Line]:
    """All lines of a Markdown text, with the blank rows between its blocks."""
    layout, lines = Layout(page), []
    for number, block in enumerate(tail.closed + tail.open):
        made = layout.lines(block, tail.references)
        if number and block.gap and made:
            lines.append(page.line([]))
        lines += made
    return lines


def shown(line: Line) -> str:
    return "".join(segment.text for segment in line.segments).rstrip()
