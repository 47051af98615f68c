"""Messages as callers of the Python API, `batch` and `eval` give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmchat.base.errors import RequestInvalid
from lmchat.core.sessions.message import ChatMessage, Role, text_message

Messages = str | Sequence[ChatMessage | tuple[str, str] | Mapping[str, str]]
"""A prompt, or a list of messages, oldest first: `("user", "Hello")`,
`{"role": "user", "content": "Hello"}` or a `ChatMessage`. Neighbours of the role `user`, or of
the role `assistant`, are sent as one message, with a blank line between their texts."""


def messages_of(messages: Messages) -> tuple[ChatMessage, ...]:
    """Raises `RequestInvalid`."""
    if isinstance(messages, str):
        return (text_message(Role.USER, messages),)
    if not isinstance(messages, Sequence):
        raise RequestInvalid("Invalid messages array: pass a prompt or a list of messages.")
    if not messages:
        raise RequestInvalid("Invalid messages array: at least one message is needed.")
    return tuple(_message(entry, position) for position, entry in enumerate(messages, 1))


def _message(entry: object, position: int) -> ChatMessage:
    """Raises `RequestInvalid`."""
    match entry:
        case ChatMessage():
            return entry
        case (
            {"role": role, "content": [{"text": content}]}  # as OpenAI's clients send a text
            | {"role": role, "content": content}
            | (role, content)
        ):
            pass
        case _:
            raise RequestInvalid(f"Invalid messages array: entry {position} is not a message.")

    if role == "developer":  # OpenAI's name for the system prompt of its newer models
        role = Role.SYSTEM
    if role not in ("system", "user", "assistant"):
        raise RequestInvalid(
            f"Invalid message role: message {position} must be of system, user or assistant."
        )
    if not isinstance(content, str):
        raise RequestInvalid(f"Invalid message content: that of message {position} must be text.")
    return text_message(Role(role), content)
