"""What a file says is held against what the values of a session may be, before anything believes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from lmchat.domain.message import ChatMessage
from lmchat.domain.session import SessionHeader

T = TypeVar("T", ChatMessage, SessionHeader)

_YEARS = range(1970, 9999)
"""Beyond them a time cannot be told in every zone, and none of a chat is meant."""


def moment_of(text: str) -> datetime:
    """Return a time that a file tells; without a zone it is UTC.

    Raises:
        ValueError: it is none, or none that a chat can have.
    """
    return _possible(datetime.fromisoformat(text))


def checked(message: ChatMessage) -> ChatMessage:
    """Return a message each of whose values is of the kind that its field says.

    Raises:
        ValueError: one is not.
    """
    sound = _sound(message)
    return replace(sound, created_at=_possible(sound.created_at))


def checked_header(header: SessionHeader) -> SessionHeader:
    """Return a header each of whose values is of the kind that its field says.

    Raises:
        ValueError: one is not.
    """
    sound = _sound(header)
    return replace(sound, created_at=_possible(sound.created_at), updated_at=_possible(sound.updated_at))


def _sound(value: T) -> T:
    try:
        return msgspec.convert(msgspec.to_builtins(value), type(value))
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def _possible(moment: datetime) -> datetime:
    if moment.year not in _YEARS:
        raise ValueError("a time that cannot be")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
