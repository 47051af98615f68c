"""A tiny app around one chat log, the messages that go into it, and what is to be seen of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from msgspec.structs import replace
from rich.cells import cell_len
from rich.style import Style
from textual import on
from textual.app import App, ComposeResult
from textual.events import Click, MouseEvent, MouseMove, MouseUp
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import Input

from lmchat.app.markdown_lines.block import Line
from lmchat.app.markdown_lines.highlighter import Highlighter
from lmchat.app.markdown_lines.incremental import IncrementalMarkdown
from lmchat.app.markdown_lines.layout import Layout
from lmchat.app.markdown_lines.page import Page
from lmchat.app.tui.chat_log.chat_log import ChatLog
from lmchat.app.tui.chat_log.document import Document
from lmchat.app.tui.chat_log.entry import Entry
from lmchat.app.tui.chat_log.painter import PARTIAL_STYLES, TINTS
from lmchat.app.tui.messages import RunCommand
from lmchat.app.tui.themes import THEMES
from lmchat.core.servers.events import TextDelta
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    new_id,
    text_message,
)
from tests.support.markdown_corpus import MIXED
from tests.support.programs import until

_STYLES = Path(find_spec("lmchat.app.tui").submodule_search_locations[0]) / "chat_log.tcss"
NOON = datetime(2026, 11, 20, 14, 2).astimezone()
STATS = AnswerStats(
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

    def __init__(self, *, theme: str = "lmchat-dark", user_keys: Mapping[str, str] = {}) -> None:
        super().__init__()
        self.highlighter = Highlighter()
        for own in THEMES:
            self.register_theme(own)
        self.theme = theme
        self.facts: list[Message] = []
        self.copied: list[str] = []
        self.user_keys = user_keys

    def compose(self) -> ComposeResult:
        prompt = Input()
        prompt.cursor_blink = False  # pictures are the same however long they take
        yield ChatLog(self.highlighter, user_keys=self.user_keys, frames_per_second=12)
        yield prompt

    async def on_unmount(self) -> None:
        await self.highlighter.aclose()

    def action_run(self, command_id: str) -> None:
        """Run a command that changes or copies only the log, as `MessageActions` does."""
        match command_id.removeprefix("message."):
            case "fold":
                self.log_view.toggle("is_collapsed")
            case "source":
                self.log_view.toggle("is_source")
            case "copy" if self.log_view.copy_selection():
                pass
            case _:
                self.facts.append(RunCommand(command_id))

    def copy_to_clipboard(self, text: str) -> None:
        self.copied.append(text)

    @on(RunCommand)
    def run_clicked(self, wanted: RunCommand) -> None:
        self.action_run(wanted.command_id)

    @on(ChatLog.LinkClicked)
    def keep(self, fact: Message) -> None:
        self.facts.append(fact)

    @property
    def log_view(self) -> ChatLog:
        return self.query_one(ChatLog)


def question(text: str, **changes: object) -> ChatMessage:
    return replace(text_message(Role.USER, text), created_at=NOON, **changes)


def answer(text: str, *, thought: str = "", **changes: object) -> ChatMessage:
    parts: tuple[Part, ...] = (ReasoningPart(text=thought),) if thought else ()
    parts += (TextPart(text=text),) if text else ()
    values = {"model": "qwen3-8b", "stats": STATS} | changes
    return ChatMessage(
        message_id=new_id(), role=Role.ASSISTANT, parts=parts, created_at=NOON, **values
    )


def streaming(text: str = "", **changes: object) -> ChatMessage:
    return answer(text, **({"state": AnswerState.STREAMING, "stats": None} | changes))


def call(arguments: str = "{}", result: str = "") -> ChatMessage:
    asked = ToolCallPart(call_id="a", name="files/read_text", arguments=arguments)
    parts = (asked, ToolResultPart(text=result)) if result else (asked,)
    return replace(text_message(Role.TOOL, ""), parts=parts, created_at=NOON)


async def load(pilot: Pilot, *messages: ChatMessage) -> None:
    pilot.app.log_view.show(messages)
    await pilot.pause()


async def load_focused(pilot: Pilot, *messages: ChatMessage) -> None:
    """Show messages, and give the focus to the last of them."""
    pilot.app.log_view.show(messages)
    pilot.app.log_view.focus()
    await pilot.pause()


async def pour(log: ChatLog, words: str) -> None:
    log.apply(TextDelta(text=words))
    log.flush()


async def highlighted(log: ChatLog) -> None:
    """Wait until all code near the screen has its colours."""

    def is_done() -> bool:
        is_busy = any(worker.name == "colours" and not worker.is_finished for worker in log.workers)
        return not (is_busy or log.highlighting.is_needed)

    await until(lambda: log.painter.page is not None, "the log has a page")
    log.update_screen()  # what is near the screen is laid out, and asks for its colours
    await until(is_done, "the colours of the code")
    log.flush()


def rows(log: ChatLog) -> list[str]:
    """What stands on each row of the log, without blanks at the right."""
    size = log.size
    return [
        "".join(segment.text for segment in strip).rstrip()
        for strip in log.render_lines(size.region)
    ]


def screen_text(log: ChatLog) -> str:
    return "\n".join(rows(log))


def plain_page(width: int = 60, look: Callable[[str], Style] = lambda _: Style.null()) -> Page:
    return Page(width, {name: look(name) for name in (*PARTIAL_STYLES, "base", *TINTS)})


def tail_of(*pieces: str, is_final: bool = True) -> IncrementalMarkdown:
    tail = IncrementalMarkdown()
    for piece in pieces:
        tail.feed(piece)
    tail.feed("", is_final=is_final)
    return tail


def document_with(entry: Entry, page: Page | None = None) -> Document:
    document = Document()
    document.set_page(page or plain_page())
    document.append(entry)
    return document


def laid_out(tail: IncrementalMarkdown, page: Page) -> list[Line]:
    """All lines of a Markdown text, with the blank rows between its blocks."""
    layout = Layout(page)
    lines = []
    for block in tail.closed + tail.open:
        made = layout.lay_out(block, tail.references)
        if block.gap and made and lines and not lines[-1].is_end:
            lines.append(page.line([]))
        lines += made
    return lines


def pictures(text: str, page: Page) -> Iterator[tuple[str, str]]:
    """What has come after each character of a text that streams, and what is then seen."""
    tail = IncrementalMarkdown()
    for end, char in enumerate(text, 1):
        tail.feed(char)
        yield text[:end], picture(tail, page)


def picture(tail: IncrementalMarkdown, page: Page) -> str:
    """What is seen of an open answer; its last block ends with the cursor."""
    layout = Layout(page)
    for block in tail.open:
        block.has_cursor = True
    lines = (
        line for block in tail.closed + tail.open for line in layout.lay_out(block, tail.references)
    )
    return "\n".join(map(shown, lines))


def shown(line: Line) -> str:
    return "".join(segment.text for segment in line.segments).rstrip()


def marked(log: ChatLog, name: str = "hit") -> list[str]:
    """The texts that are painted as hits, or as the current one, row by row."""
    style = log.get_component_rich_style(f"chat-log--{name}", partial=True)
    wanted = style.bold, style.underline, style.reverse
    found = []
    for strip in log.render_lines(log.size.region):
        was = False
        for segment in strip:
            look = segment.style
            is_hit = (look.bold, look.underline, look.reverse) == wanted
            if is_hit and was:
                found[-1] += segment.text
            elif is_hit:
                found.append(segment.text)
            was = is_hit
    return found


def chosen(log: ChatLog) -> list[str]:
    ground = log.get_component_rich_style("chat-log--selected").bgcolor
    rows = (
        "".join(
            segment.text for segment in strip if segment.style and segment.style.bgcolor == ground
        )
        for strip in log.render_lines(log.size.region)
    )
    return [row for row in rows if row]


def post_mouse(
    log: ChatLog, kind: type[MouseEvent], offset: tuple[int, int], *, button: int = 1
) -> None:
    """Post an event, of the left button by default; also from where the log is not."""
    event = kind(
        log,
        *offset,
        0,
        0,
        button=button,
        shift=False,
        meta=False,
        ctrl=False,
        screen_x=0,
        screen_y=0,
    )
    event.stop()  # the app would make another click of it
    log.post_message(event)


async def move(pilot: Pilot, log: ChatLog, offset: tuple[int, int]) -> None:
    """Move the mouse with a button held."""
    post_mouse(log, MouseMove, offset)
    await pilot.pause()


async def drag(
    pilot: Pilot, log: ChatLog, start: tuple[int, int], *positions: tuple[int, int]
) -> None:
    await pilot.mouse_down(log, offset=start)
    for position in positions:
        await move(pilot, log, position)
    end = positions[-1] if positions else start
    await pilot._post_mouse_events(
        [MouseUp, Click], log, offset=end, button=1
    )  # as a terminal has it
    await pilot.pause()


def find(log: ChatLog, words: str, *, behind: bool = False) -> tuple[int, int]:
    """The cell on which words start, or the last one that they take."""
    for y, row in enumerate(rows(log)):
        if words in row:
            start = cell_len(row[: row.index(words)])
            return (start + (cell_len(words) - 1 if behind else 0), y)
    raise AssertionError(f"{words!r} is not on the screen:\n{screen_text(log)}")


async def select(pilot: Pilot, log: ChatLog, first: str, last: str) -> None:
    """Drag from the first character of some words to the last one of others."""
    await drag(pilot, log, find(log, first), find(log, last, behind=True))


async def press(pilot: Pilot, log: ChatLog, offset: tuple[int, int], times: int = 1) -> None:
    for _ in range(times):
        await pilot.mouse_down(log, offset=offset)
        await pilot.mouse_up(log, offset=offset)
    await pilot.pause()


def coloured_page() -> Page:
    """A page on which each style can be told from all others."""
    return plain_page(
        48, lambda name: Style(color=f"#{sum(map(ord, name)) * 7919 % (1 << 24):06x}")
    )


def painted(lines: Iterable[Line]) -> list[tuple[object, ...]]:
    """Of each line: its segments, those of one style joined; its text; whether the next continues it."""
    return [
        (
            [
                ("".join(segment.text for segment in group), str(style), _meta(style))
                for style, group in groupby(line.segments, key=lambda segment: segment.style)
            ],
            line.text,
            line.is_wrapped,
        )
        for line in lines
    ]


def _meta(style: Style | None) -> str:
    return str(style.meta) if style else ""


def talk(count: int) -> list[ChatMessage]:
    return [
        message
        for number in range(count)
        for message in (question(f"Question {number}?"), answer(f"{MIXED}\n\nEnd {number}"))
    ]
