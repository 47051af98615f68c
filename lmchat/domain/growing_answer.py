"""The text of an answer while it grows: appended in constant time, joined when someone asks."""

from __future__ import annotations

from msgspec import Struct, field

from lmchat.domain.event import ReasoningDelta, StreamEvent, TextDelta, ToolCallDelta
from lmchat.domain.message import Part, ReasoningPart, TextPart, ToolCallPart


class GrowingAnswer(Struct):
    """Parts of an answer that is still on its way."""

    texts: list[str] = field(default_factory=list)
    """Pieces of the answer."""
    thoughts: list[str] = field(default_factory=list)
    """Pieces of reasoning."""
    calls: dict[int, ToolCallPart] = field(default_factory=dict)
    """Tool calls by their index."""

    def add(self, event: StreamEvent) -> tuple[str, str] | None:
        """Take an event; return the piece to keep on the disk, if it brought one."""
        match event:
            case TextDelta(text=text):
                self.texts.append(text)
                return "text", text
            case ReasoningDelta(text=text):
                self.thoughts.append(text)
                return "reasoning", text
            case ToolCallDelta():
                self._add_call(event)
                return None
            case _:
                return None

    def _add_call(self, delta: ToolCallDelta) -> None:
        known = self.calls.get(delta.index, ToolCallPart(call_id="", name="", arguments=""))
        self.calls[delta.index] = ToolCallPart(
            call_id=known.call_id or delta.call_id,
            name=known.name or delta.name,
            arguments=known.arguments + delta.arguments,
        )

    @property
    def has_content(self) -> bool:
        """Whether anything arrived that is worth keeping."""
        return bool(self.texts or self.thoughts or self.calls)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts so far: reasoning, text, tool calls."""
        parts: list[Part] = []
        if self.thoughts:
            parts.append(ReasoningPart(text="".join(self.thoughts)))
        if self.texts:
            parts.append(TextPart(text="".join(self.texts)))
        return (*parts, *(self.calls[index] for index in sorted(self.calls)))
