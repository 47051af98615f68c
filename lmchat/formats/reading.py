"""A file's text as sessions, whichever format it has; one that is none of ours is refused, with the place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from lmchat.domain.session import Session
from lmchat.errors import FileRefused
from lmchat.formats.checks import Skipped, sound
from lmchat.formats.json_format import from_value
from lmchat.formats.markdown_read import from_markdown
from lmchat.formats.message_list import from_list, is_list

_WANTED = "lmchat imports its own exports as Markdown and JSON, and JSON lists of {role, content}."

_ENDLESS = "It is JSON that nobody can read."


class Reading(Struct, frozen=True, kw_only=True):
    """What a file holds."""

    sessions: tuple[Session, ...]
    """Sound: a store can take them as they are."""
    skipped: tuple[Skipped, ...] = ()
    """What was left out of them."""


def read(data: bytes, *, moment: datetime) -> Reading:
    """Read a file.

    Raises:
        FileRefused: it is none of the formats, or a part of it is broken.
    """
    text = decoded(data)
    match text.lstrip()[:1]:
        case "{" | "[":
            sessions, skipped = _read_json(_json(text), moment)
        case "-":
            sessions, skipped = [from_markdown(text.lstrip())], ()
        case "":
            raise FileRefused("It is empty.", hint=_WANTED)
        case _:
            raise FileRefused("It is none of the formats that can be imported.", hint=_WANTED)
    found = tuple(sound(session, moment=moment) for session in sessions if session.messages)
    if not found:
        raise FileRefused(f"It holds no message{_because(skipped)}.", hint=_WANTED)
    return Reading(sessions=found, skipped=tuple(skipped))


def decoded(data: bytes) -> str:
    """Return a file's text: UTF-8, or UTF-16 where its mark says so, as the shells of Windows write it.

    Raises:
        FileRefused: it is neither.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding, name = "utf-16", "UTF-16"
    else:
        encoding, name = "utf-8-sig", "UTF-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileRefused(f"Line {line} is no text in {name}.", hint="Save the file as UTF-8.") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileRefused(
            f"It is no JSON from line {error.lineno}, column {error.colno} on.",
            hint="Perhaps it was cut off, or changed by hand.",
            details=error.msg,
        ) from error
    except (ValueError, RecursionError) as error:  # a number of endless digits; brackets without end
        raise FileRefused(_ENDLESS, hint=_WANTED, details=repr(error)) from error


def _read_json(value: Any, moment: datetime) -> tuple[list[Session], Sequence[Skipped]]:
    try:
        if isinstance(value, dict) and "lmchat" in value:
            return [from_value(value)], ()
        if is_list(value):
            session, skipped = from_list(value, moment=moment)
            return [session], skipped
    except RecursionError as error:
        raise FileRefused(_ENDLESS, hint=_WANTED) from error
    raise FileRefused("It is JSON, but no chat that lmchat knows.", hint=_WANTED)


def _because(skipped: Sequence[Skipped]) -> str:
    return f" that can be read: of {skipped[0].where}, {skipped[0].reason}" if skipped else ""
