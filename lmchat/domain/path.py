"""The messages from the root of a session's tree to a leaf."""

from __future__ import annotations

from lmchat.domain.message import ChatMessage

STRETCH = 64
"""Messages of a long session that are read together."""


class MessagePath(tuple[ChatMessage, ...]):
    """Messages from the root to a leaf, or their newest part; a change returns another path."""

    __slots__ = ()

    def added(self, *messages: ChatMessage) -> MessagePath:
        return MessagePath((*self, *messages))

    def after(self, earlier: MessagePath) -> MessagePath:
        return MessagePath((*earlier, *self))

    def replaced(self, message: ChatMessage) -> MessagePath:
        place = self.place(message.message_id)
        return self if place is None else MessagePath((*self[:place], message, *self[place + 1 :]))

    def place(self, message_id: str) -> int | None:
        for place, message in zip(range(len(self) - 1, -1, -1), reversed(self), strict=True):
            if message.message_id == message_id:
                return place
        return None
