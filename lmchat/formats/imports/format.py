"""Types of import formats: how a file is recognized, and how its chats are read.

`reader.py` uses the formats. They are in the modules of `programs`, in `message_list.py`, and in
`json_sessions.py`, which also exports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from lmchat.formats.imports.file_values import Record
from lmchat.formats.imports.sources import Source
from lmchat.sessions.session import Session, Skipped
from lmchat.units import counted

_MOST_KINDS = 10  # kinds of omissions that are named for a chat


class ReadSession(Struct, frozen=True, kw_only=True):
    """Session that was read from a file."""

    session: Session  # without messages if the chat has none; then `import_chats` leaves it out
    skipped: tuple[Skipped, ...] = ()  # parts of the chat that are left out


class FileChat(Protocol):
    """Chat as a format reads it: a `ForeignChat`, or an `OwnChat` of lmchat itself."""

    def finish(self, moment: datetime, *, source: str) -> ReadSession:
        """Return the session of the chat.

        `source` is the tag of its program, empty for lmchat itself. `moment` is the current time,
        which the session gets if the chat has none. Raises one of `BAD_VALUE_ERRORS` for values of
        wrong types, and `FileRefused` for messages that form a loop or have the same id.
        """
        ...


class JsonFormat(Struct, frozen=True, kw_only=True):
    """Format of a JSON file: an object, a list of objects, or one in each line."""

    fits: Callable[[Record], bool]  # whether an object of a file is of this format
    # Reads a chat from its objects; it has only one unless `begins_chat` is given.
    read: Callable[[Sequence[Record], Source], FileChat]
    # Whether an object begins another chat, given the objects of the chat before it. By default,
    # each object does.
    begins_chat: Callable[[Record, Sequence[Record]], bool] = lambda _record, _chat: True
    # Names of files beside a chat that are read with it, and are no chats.
    companions: tuple[str, ...] = ()


class DatabaseFormat(Struct, frozen=True, kw_only=True):
    """Format of an SQLite database."""

    versions: str  # what writes such a database, for people: `llm 0.36 and later`
    fits: Callable[[Path], bool]  # whether a database is of this format; raises `sqlite3.Error`
    # Yields a function for each chat. The function reads the chat, while the database is open: it
    # is called before the next one is asked for. If one fails, the others can still be read.
    # Raises `sqlite3.Error`.
    read: Callable[[Path], Iterator[Callable[[], FileChat]]]


def omissions(title: str, counts_by_kind: Mapping[str, int]) -> tuple[Skipped, ...]:
    """Return what is left out of a chat: `2 images, 1 damaged message left out`, or nothing."""
    # readers may have added 0 to a kind; kinds and titles are cut, as a file may have any text
    words = [counted(count, kind[:100]) for kind, count in counts_by_kind.items() if count > 0]
    if not words:
        return ()
    reason = f"{', '.join(words[:_MOST_KINDS])} left out"
    return (Skipped(where=f"“{title[:100]}”", reason=reason),)
