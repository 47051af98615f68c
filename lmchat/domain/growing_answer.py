"""The text of an answer while it grows: appended in constant time, joined when someone asks."""

from __future__ import annotations

from msgspec import Struct, field

from lmchat.domain.event import ReasoningDelta, RefusalDelta, Rethought, StreamEvent, TextDelta, ToolCallDelta
from lmchat.domain.message import (
    ChatMessage,
    Part,
    ReasoningPart,
    Receipt,
    RefusalPart,
    TextPart,
    ToolCallPart,
)

Piece = tuple[str, str]
"""A kind and a text, as the disk keeps them of an answer that is on its way."""
ANEW: Piece = ("anew", "")
"""Says that what follows is all that there is; what was kept so far is dropped."""
_MOST_DIGITS = 9


class CallKind(Struct, frozen=True):
    """The kind of a piece of a tool call, as a word: which call it is of, and what of it."""

    index: int
    """Which call of this answer."""
    field: str
    """`id`, `name` or `arguments`."""

    def __str__(self) -> str:
        return f"tool_call {self.index} {self.field}"

    @classmethod
    def read(cls, kind: str) -> CallKind | None:
        """Return what a kind says, None where it is not of a tool call."""
        match kind.split(" "):
            case ["tool_call", index, "id" | "name" | "arguments" as field] if (
                index.isdecimal() and len(index) <= _MOST_DIGITS
            ):
                return cls(int(index), field)
        return None


class GrowingAnswer(Struct):
    """Parts of an answer that is still on its way."""

    texts: list[str] = field(default_factory=list)
    """Pieces of the answer."""
    thoughts: list[str] = field(default_factory=list)
    """Pieces of reasoning."""
    refusals: list[str] = field(default_factory=list)
    """Pieces of the words in which the model refuses."""
    calls: dict[int, ToolCallPart] = field(default_factory=dict)
    """Tool calls by their index."""
    begun: Receipt | None = None
    """Figures of the unfinished answer that this one goes on with."""
    _begun: tuple[int, int] = (0, 0)

    @classmethod
    def after(cls, begun: ChatMessage | None) -> GrowingAnswer:
        """Return the beginning of an answer that goes on with another one."""
        texts = [begun.text] if begun and begun.text else []
        thoughts = [begun.reasoning] if begun and begun.reasoning else []
        figures = begun.receipt if begun else None
        return cls(texts=texts, thoughts=thoughts, begun=figures, _begun=(len(texts), len(thoughts)))

    def add(self, event: StreamEvent) -> tuple[Piece, ...]:
        """Take an event; return the pieces to keep on the disk, if it brought any."""
        match event:
            case TextDelta(text=text):
                self.texts.append(text)
                return (("text", text),)
            case ReasoningDelta(text=text):
                self.thoughts.append(text)
                return (("reasoning", text),)
            case RefusalDelta(text=text):
                self.refusals.append(text)
                return (("refusal", text),)
            case Rethought(is_thought=is_thought):
                self._rethink(is_thought=is_thought)
                return (ANEW, *self.pieces)
            case ToolCallDelta():
                return self._add_call(event)
            case _:
                return ()

    def _rethink(self, *, is_thought: bool) -> None:
        """Take the text of this stream for thought, or its thought for text."""
        texts, thoughts = self._begun
        if is_thought:
            self.thoughts += self.texts[texts:]
            del self.texts[texts:]
        else:
            self.texts += self.thoughts[thoughts:]
            del self.thoughts[thoughts:]

    def _add_call(self, delta: ToolCallDelta) -> tuple[Piece, ...]:
        known = self.calls.get(delta.index, ToolCallPart(call_id="", name="", arguments=""))
        fresh = ToolCallPart(
            call_id="" if known.call_id else delta.call_id,
            name="" if known.name else delta.name,
            arguments=delta.arguments,
        )
        self.calls[delta.index] = ToolCallPart(
            call_id=known.call_id or fresh.call_id,
            name=known.name or fresh.name,
            arguments=known.arguments + fresh.arguments,
        )
        return _call_pieces(delta.index, fresh)

    @property
    def has_content(self) -> bool:
        """Whether anything arrived that is worth keeping."""
        return bool(self.texts or self.thoughts or self.refusals or self.calls)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All that came so far, as the disk keeps it."""
        kinds = (("reasoning", self.thoughts), ("text", self.texts), ("refusal", self.refusals))
        texts = ((kind, "".join(texts)) for kind, texts in kinds if texts)
        calls = (_call_pieces(index, call) for index, call in self.calls.items())
        return (*texts, *(piece for pieces in calls for piece in pieces))

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts so far: reasoning, text, refusal, tool calls."""
        parts: list[Part] = []
        if self.thoughts:
            parts.append(ReasoningPart(text="".join(self.thoughts)))
        if self.texts:
            parts.append(TextPart(text="".join(self.texts)))
        if self.refusals:
            parts.append(RefusalPart(text="".join(self.refusals)))
        return (*parts, *(self.calls[index] for index in sorted(self.calls)))


def _call_pieces(index: int, call: ToolCallPart) -> tuple[Piece, ...]:
    fields = (("id", call.call_id), ("name", call.name), ("arguments", call.arguments))
    return tuple((str(CallKind(index, field)), text) for field, text in fields if text)
