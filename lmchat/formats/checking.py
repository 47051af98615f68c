"""What a file says is held against what the values of a session may be, before anything believes it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from lmchat.domain.message import ChatMessage
from lmchat.domain.session import SessionHeader

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
    try:
        sound = msgspec.convert(msgspec.to_builtins(message), ChatMessage)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    return replace(sound, created_at=_possible(sound.created_at))


def checked_header(header: SessionHeader) -> SessionHeader:
    """Return a header each of whose values is of the kind that its field says.

    Raises:
        ValueError: one is not.
    """
    try:
        sound = msgspec.convert(msgspec.to_builtins(header), SessionHeader)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    return replace(sound, created_at=_possible(sound.created_at), updated_at=_possible(sound.updated_at))


def _possible(moment: datetime) -> datetime:
    if moment.year not in _YEARS:
        raise ValueError("a time that cannot be")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
