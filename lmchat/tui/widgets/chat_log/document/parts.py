"""The parts of a message while they may still grow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from lmchat.domain.message import Part, ReasoningPart, ToolCallPart
from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document.rest import AT_ONCE_CHARS, FIRST_CHARS, Rest, rest
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
    is_begun: bool = False
    """Whether its beginning was cut into blocks; what is folded away need not be."""
    shown: int = 0
    """How many of its finished blocks are among those of its message."""
    at: int = -1
    """The block of the message behind these; -1 where none of this is shown."""
    _waiting: str = ""
    _at: int = 0
    _is_ended: bool = False
    _rest: Rest | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.chunks)

    @property
    def is_unread(self) -> bool:
        """Whether some of its text is not yet cut into blocks."""
        return self._at < len(self._waiting)

    @property
    def is_behind(self) -> bool:
        """Whether something stands in its place that may have been read since."""
        return self._rest is not None

    def feed(self, text: str) -> None:
        """Append text; much of it waits until it is `read`."""
        self.chunks.append(text)
        if self.is_unread or len(text) > AT_ONCE_CHARS:
            self._wait(text)
        else:
            self.is_begun = True
            self._take(text)

    def hold_back(self, text: str) -> None:
        """Append text that nobody looks at yet."""
        self.chunks.append(text)
        self._wait(text)

    def begin(self, room: int) -> int:
        """Read what waits if it is no more than `room`, else its beginning; return what is left of that."""
        if self.is_begun:
            return room
        self.is_begun = True
        size = len(self._waiting) - self._at
        return room - self.read(size if size <= room else min(FIRST_CHARS, room))

    def read(self, chars: int) -> int:
        """Cut so much of what waits into blocks; return how much that was."""
        text = self._waiting[self._at : self._at + chars]
        self._at += len(text)
        if text:
            self._take(text)
        if not self.is_unread:
            self._waiting, self._at = "", 0
            if self._is_ended:
                self.tail.feed("", is_final=True)
        return len(text)

    def _wait(self, text: str) -> None:
        self._waiting, self._at = self._waiting[self._at :] + text, 0

    def _take(self, text: str) -> None:
        if self.kind is ToolCallPart and not (self.tail.closed or self.tail.open):
            self.tail.open_code("json")
            text = text.lstrip("\n")
        self.tail.feed(text)

    def close(self) -> None:
        """Say that nothing more comes; of a call more may come while others do."""
        if self.kind is not ToolCallPart:
            self.end()

    def end(self) -> None:
        """Say that nothing more comes at all."""
        self._is_ended = True
        if not self.is_unread:
            self.tail.feed("", is_final=True)

    def turn_into(self, kind: type[Any], *, is_closed: bool) -> None:
        """Be a part of another kind; its blocks are laid out anew, because that looks different."""
        if is_closed:
            self.close()
        if kind is not self.kind:
            self.kind = kind
            for block in self.tail.closed + self.tail.open:
                block.forget()

    def blocks(self) -> list[Block]:
        """Return all its blocks."""
        head = [tool_block(self.name)] if self.kind is ToolCallPart else []
        return head + self.tail.closed + self.ending()

    def ending(self) -> list[Block]:
        """Return what stands behind its finished blocks: what may still change, or what is not yet read."""
        if not self.is_unread:
            self._rest = None
            return self.tail.open
        if self._rest is None:
            self._rest = rest()
        self._rest.stand_for(self._waiting, self._at, sum(map(len, self.chunks)))
        return [self._rest]


def live_parts(parts: Iterable[Part], *, is_open: bool) -> list[LivePart]:
    """Return the parts of a message that is there, yet to be read; of an open one the last may grow."""
    found: list[LivePart] = []
    for part in parts:
        if isinstance(part, ToolCallPart):
            index = sum(live.kind is ToolCallPart for live in found)
            found.append(LivePart(ToolCallPart, name=part.name, index=index))
            found[-1].hold_back(part.arguments)
        else:
            if not (found and found[-1].kind is type(part)):
                found.append(LivePart(type(part)))
            found[-1].hold_back(part.text)
    for live in found:
        if not (is_open and (live is found[-1] or live.kind is ToolCallPart)):
            live.end()
    return found


def completed(live: Iterable[LivePart], parts: Iterable[Part]) -> list[LivePart]:
    """Return the parts of a message in its final form; what is as it was keeps its blocks."""
    known = {(part.kind, part.name, part.text): part for part in live}
    found = [known.pop((part.kind, part.name, part.text), part) for part in live_parts(parts, is_open=False)]
    for part in found:
        part.end()
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
