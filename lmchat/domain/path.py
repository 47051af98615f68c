"""The messages from the root of a session's tree to a leaf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import SupportsIndex, overload

from lmchat.domain.message import ChatMessage, Role

STRETCH = 64
"""Messages of a long session that are read together."""


class MessagePath(tuple[ChatMessage, ...]):
    """Messages from the root to a leaf, or their newest part; each change is another path."""

    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> ChatMessage: ...

    @overload
    def __getitem__(self, index: slice, /) -> MessagePath: ...

    def __getitem__(self, index: SupportsIndex | slice, /) -> ChatMessage | MessagePath:
        if isinstance(index, slice):
            return MessagePath(super().__getitem__(index))
        return super().__getitem__(index)

    def added(self, *messages: ChatMessage) -> MessagePath:
        return MessagePath((*self, *messages))

    def after(self, earlier: MessagePath) -> MessagePath:
        return MessagePath((*earlier, *self))

    def replaced(self, message: ChatMessage) -> MessagePath:
        """Return the path with a newer form of one of its messages; the same where it is not among them."""
        place = self.place(message.message_id)
        return self if place is None else MessagePath((*self[:place], message, *self[place + 1 :]))

    def place(self, message_id: str) -> int | None:
        for place, message in zip(range(len(self) - 1, -1, -1), reversed(self), strict=True):
            if message.message_id == message_id:
                return place
        return None

    def model_before(self, index: int) -> str:
        """Return the model of the last answer before a message; empty where none is named."""
        for message in reversed(self[:index]):
            if message.role is Role.ASSISTANT and message.model:
                return message.model
        return ""

    def extents(self) -> Iterator[tuple[int, int]]:
        """Yield characters and line ends of every text."""
        return ((len(text), text.count("\n")) for text in (message.text for message in self))
