"""Lossless JSON export and import."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec.structs import asdict, fields

from lmchat.domain.message import ChatMessage, Part
from lmchat.domain.session import MessagePath, Session, SessionHeader
from lmchat.errors import FileRefused
from lmchat.formats.checks import checked, unchanged
from lmchat.formats.writing import places

FORMAT = 1  # in the field `lmchat`
_PARTS: dict[str, type[Part]] = {kind.__struct_config__.tag: kind for kind in get_args(Part)}


def to_json(session: Session) -> str:
    """Return a whole session as JSON, in ASCII, which no terminal interprets.

    `messages` is the chosen path. `branches` holds the other messages; then each message has a `place` in the
    order of writing. `branch_names` has the id of a branch's first message as key, and `files` the digest
    of an attached file, its content being in Base64.
    """
    order = places(session)
    data: dict[str, object] = {
        "lmchat": FORMAT,
        "session": asdict(session.header),
        "messages": [_message(message, order) for message in session.messages],
    }
    if order:
        data["branches"] = [_message(message, order) for message in session.branches]
    if session.branch_names:
        data["branch_names"] = session.branch_names
    if session.files:
        data["files"] = msgspec.to_builtins(session.files)
    return json.dumps(data, indent=2, default=_plain) + "\n"


def from_json(data: dict[str, Any]) -> Session:
    """Read an export; raises `FileRefused` for an unknown version or a broken part."""
    if data["lmchat"] != FORMAT:
        raise FileRefused("Another version of lmchat exported this.", hint="Update lmchat.")
    with unchanged("Its header was changed after the export."):
        header = checked(msgspec.convert(data["session"], SessionHeader))
        names = msgspec.convert(data.get("branch_names", {}), dict[str, str])
        files = msgspec.convert(data.get("files", {}), dict[str, bytes])
        path, beside = list(data["messages"]), list(data.get("branches", ()))
    rows = [*_read_all(path, "Message"), *_read_all(beside, "Message of a branch")]
    messages = [message for _, message in rows]
    tree = sorted(rows, key=lambda row: row[0]) if beside else []
    return Session(
        header=header,
        messages=MessagePath(messages[: len(path)]),
        tree=tuple(message for _, message in tree),
        branch_names=names,
        files=files,
    )


def _message(message: ChatMessage, order: Mapping[str, int]) -> dict[str, object]:
    place = {"place": order[message.message_id]} if message.message_id in order else {}
    return asdict(message) | place


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    tag = value.__struct_config__.tag
    return ({"type": tag} if tag else {}) | asdict(value)


def _read_all(rows: Iterable[Any], name: str) -> Iterator[tuple[int, ChatMessage]]:
    for number, row in enumerate(rows, 1):
        with unchanged(f"{name} {number} was changed after the export."):
            parts = tuple(_known(part, _PARTS[part["type"]]) for part in row["parts"])
            yield int(row.get("place", 0)), checked(_known(row | {"parts": parts}, ChatMessage))


def _known(data: Mapping[str, Any], kind: type[Any]) -> Any:
    """Make a struct of the known fields; `checked` converts their values."""
    return kind(**{field.name: data[field.name] for field in fields(kind) if field.name in data})
