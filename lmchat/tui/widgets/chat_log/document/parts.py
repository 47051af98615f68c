"""The parts of a message while they may still grow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from lmchat.domain.message import Part, ReasoningPart, ToolCallPart
from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.layout.furniture import tool_block
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail


class LivePart(Struct):
    """A part of a message while it may still grow."""

    kind: type[Any]
    """The kind of part that it will be."""
    chunks: list[str] = field(default_factory=list)
    """Its text, or the arguments of a call, as received."""
    tail: MarkdownTail = field(default_factory=MarkdownTail)
    """Its blocks; those of a call are code."""
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
        if self.kind is ToolCallPart and not (self.tail.closed or self.tail.open):
            self.tail.open_code("json")
            text = text.lstrip("\n")
        self.tail.feed(text)

    def close(self) -> None:
        """Say that nothing more comes; of a call more may come while others do."""
        if self.kind is not ToolCallPart:
            self.tail.feed("", is_final=True)

    def turn_into(self, kind: type[Any], *, is_closed: bool) -> None:
        """Be a part of another kind; its blocks are laid out anew, because that looks different."""
        if is_closed:
            self.close()
        if kind is not self.kind:
            self.kind = kind
            for block in self.blocks():
                block.forget()

    def blocks(self) -> list[Block]:
        """Return all its blocks."""
        head = [tool_block(self.name)] if self.kind is ToolCallPart else []
        return head + self.tail.closed + self.tail.open


def live_parts(parts: Iterable[Part], *, is_open: bool) -> list[LivePart]:
    """Return the parts of a message that is there at once; of an open one the last may grow."""
    found: list[LivePart] = []
    for part in parts:
        if isinstance(part, ToolCallPart):
            index = sum(live.kind is ToolCallPart for live in found)
            found.append(LivePart(ToolCallPart, name=part.name, index=index))
            found[-1].feed(part.arguments)
        elif found and found[-1].kind is type(part):
            found[-1].chunks.append(part.text)
        else:
            found.append(LivePart(type(part), [part.text]))
    for live in found:
        if live.kind is not ToolCallPart:
            live.tail.feed(live.text, is_final=not (is_open and live is found[-1]))
        elif not is_open:
            live.tail.feed("", is_final=True)
    return found


def restated(live: Sequence[LivePart], parts: Sequence[Part]) -> list[LivePart]:
    """Return parts of an open answer after some of them turned out to be of another kind.

    Calls stay as they are, since fragments still name them; so do the blocks of what has the same text.
    """
    calls = [part for part in live if part.kind is ToolCallPart]
    known = {part.text: part for part in live if part.kind is not ToolCallPart}
    texts = [part for part in parts if not isinstance(part, ToolCallPart)]
    found: list[LivePart] = []
    for part in texts:
        same = known.pop(part.text, None)
        if same is None:
            found += live_parts([part], is_open=part is texts[-1])
        else:
            same.turn_into(type(part), is_closed=part is not texts[-1] or isinstance(part, ReasoningPart))
            found.append(same)
    return found + calls
