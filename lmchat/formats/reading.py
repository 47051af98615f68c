"""Import of a file in any format."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from lmchat.errors import FileRefused
from lmchat.formats.checks import Content, Reading, sound
from lmchat.formats.json_format import from_json, is_export
from lmchat.formats.markdown_read import from_markdown, is_markdown
from lmchat.formats.message_list import from_list, is_list


class _Format(NamedTuple):
    """Format that can be imported."""

    name: str
    endings: tuple[str, ...]
    fits: Callable[[Content], bool]
    read: Callable[[Content], Reading]


_FORMATS = (
    _Format("its own JSON exports", (".json",), is_export, from_json),
    _Format("JSON lists of {role, content}", (".json",), is_list, from_list),
    _Format("its own Markdown exports", (".md", ".markdown"), is_markdown, from_markdown),
)
"""The first that fits is used."""
ENDINGS = tuple(dict.fromkeys(ending for one in _FORMATS for ending in one.endings))
_WANTED = f"lmchat imports {', '.join(one.name for one in _FORMATS)}."
_ENDLESS = "It is not readable JSON."


def read(data: bytes, *, moment: datetime) -> Reading:
    """Read a file into checked sessions; raises `FileRefused`."""
    whole = _decoded(data)
    text = whole.lstrip()
    if not text:
        raise FileRefused("It is empty.", hint=_WANTED)
    is_json = text[0] in "{["
    content = Content(text=text, value=_json(whole) if is_json else None, moment=moment)
    reader = next((one.read for one in _FORMATS if one.fits(content)), None)
    if reader is None and is_json:
        raise FileRefused("It is JSON, but not a chat format that lmchat knows.", hint=_WANTED)
    if reader is None:
        raise FileRefused("Its format cannot be imported.", hint=_WANTED)
    try:
        found = reader(content)
    except RecursionError as error:
        raise FileRefused(_ENDLESS, hint=_WANTED) from error
    sessions = tuple(sound(session, moment=moment) for session in found.sessions if session.messages)
    if not sessions:
        why = "".join(f" ({one.where}: {one.reason})" for one in found.skipped[:1])
        raise FileRefused(f"It has no readable messages{why}.", hint=_WANTED)
    return Reading(sessions=sessions, skipped=found.skipped)


def _decoded(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark as Windows shells write it; raises `FileRefused`."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding, name = "utf-16", "UTF-16"
    else:
        encoding, name = "utf-8-sig", "UTF-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileRefused(f"Line {line} is not {name} text.", hint="Save the file as UTF-8.") from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileRefused(
            f"Invalid JSON at line {error.lineno}, column {error.colno}.",
            hint="Export it again.",
            details=error.msg,
        ) from error
    except (ValueError, RecursionError) as error:  # a number with too many digits; brackets without end
        raise FileRefused(_ENDLESS, hint=_WANTED, details=repr(error)) from error
