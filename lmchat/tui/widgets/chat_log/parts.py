"""The parts of a message while they may still grow."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from lmchat.domain.message import ToolCallPart
from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.furniture import tool_block
from lmchat.tui.widgets.chat_log.tail import MarkdownTail


class LivePart(Struct):
    """A part of a message while it may still grow."""

    kind: type[Any]
    """The kind of part that it will be."""
    chunks: list[str] = field(default_factory=list)
    """Its text, or the arguments of a call, as received."""
    tail: MarkdownTail = field(default_factory=MarkdownTail)
    """Its blocks, unless it is a call."""
    name: str = ""
    """Name of the tool."""
    index: int = 0
    """Which call of the answer."""

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.chunks)

    def feed(self, text: str) -> None:
        """Append text."""
        self.chunks.append(text)
        if self.kind is not ToolCallPart:
            self.tail.feed(text)

    def close(self) -> None:
        """Say that nothing more comes."""
        self.tail.feed("", is_final=True)

    def blocks(self) -> list[Block]:
        """Return all its blocks."""
        if self.kind is ToolCallPart:
            return [tool_block(ToolCallPart(call_id="", name=self.name, arguments=self.text))]
        return self.tail.closed + self.tail.open
