"""What a program may hand over as a chat, as messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmchat.domain.message import ChatMessage, Role, text_message
from lmchat.errors import RequestInvalid

Messages = str | Sequence[ChatMessage | tuple[str, str] | Mapping[str, str]]
"""A prompt alone, or messages, oldest first: `("user", "Hello")`, `{"role": "user", "content": "Hello"}`
or a `ChatMessage`."""


def messages_of(messages: Messages) -> tuple[ChatMessage, ...]:
    """Return the messages, in the words of the checks that follow where one of them is none.

    Raises:
        RequestInvalid: they are no messages.
    """
    if isinstance(messages, str):
        return (text_message(Role.USER, messages),)
    if not isinstance(messages, Sequence):
        raise RequestInvalid("Invalid messages array: a prompt, or a list of messages is wanted")
    if not messages:
        raise RequestInvalid("Invalid messages array: there has to be at least one message")
    return tuple(_message(one, place) for place, one in enumerate(messages, 1))


def _message(one: object, place: int) -> ChatMessage:
    match one:
        case ChatMessage():
            return one
        case {"role": role, "content": content} | (role, content):
            pass
        case _:
            raise RequestInvalid(f"Invalid messages array: entry {place} is not a message")
    if not isinstance(role, str) or role not in set(Role):
        raise RequestInvalid(f"Invalid message role: of message {place}")
    if not isinstance(content, str):
        raise RequestInvalid(f"Invalid message content: message {place} holds no text")
    return text_message(Role(role), content)
