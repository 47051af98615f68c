"""Lossless JSON export and import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec.structs import asdict, fields

from lmchat.domain.message import ChatMessage, Part
from lmchat.domain.session import MessagePath, Session, SessionHeader
from lmchat.errors import FileRefused
from lmchat.formats.file_values import Record
from lmchat.formats.normalizing import refusing_changes, validated
from lmchat.formats.writing import WriteOptions, write_order

FORMAT = 1  # in the field `lmchat`
_PARTS: dict[str, type[Part]] = {kind.__struct_config__.tag: kind for kind in get_args(Part)}


def to_json(session: Session, _: WriteOptions | None = None) -> str:
    """Return a whole session as JSON, in ASCII, which no terminal interprets.

    `messages` is the chosen path. `branches` holds the other messages; then each message has a
    `place` in the order of writing. `branch_names` has the id of a branch's first message as key,
    and `files` the digest of an attached file, its content being in Base64.
    """
    order = write_order(session)
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


def from_json(data: Record) -> Session:
    """Read an export; raises `FileRefused` for an unknown version or a broken part."""
    if data["lmchat"] != FORMAT:
        raise FileRefused("Another version of lmchat exported this.", hint="Update lmchat.")
    with refusing_changes("Its header was changed after the export."):
        header = validated(msgspec.convert(data["session"], SessionHeader))
        names = msgspec.convert(data.get("branch_names", {}), dict[str, str])
        files = msgspec.convert(data.get("files", {}), dict[str, bytes])
        path_records = list(data["messages"])
        branch_records = list(data.get("branches", ()))
    path = _read_all(path_records, "Message")
    branches = _read_all(branch_records, "Message of a branch")
    tree = sorted([*path, *branches], key=lambda placed: placed[0]) if branches else []
    return Session(
        header=header,
        messages=MessagePath(message for _, message in path),
        tree=tuple(message for _, message in tree),
        branch_names=names,
        files=files,
    )


def _message(message: ChatMessage, order: Mapping[str, int]) -> dict[str, object]:
    data: dict[str, object] = asdict(message)
    if message.message_id in order:
        data["place"] = order[message.message_id]
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    tag = value.__struct_config__.tag
    data = {"type": tag} if tag else {}
    return data | asdict(value)


def _read_all(records: list[Any], name: str) -> list[tuple[int, ChatMessage]]:
    """Return messages with their places in the order of writing."""
    placed: list[tuple[int, ChatMessage]] = []
    for number, record in enumerate(records, 1):
        with refusing_changes(f"{name} {number} was changed after the export."):
            parts = tuple(_struct_of(part, _PARTS[part["type"]]) for part in record["parts"])
            message = _struct_of(record | {"parts": parts}, ChatMessage)
            placed.append((int(record.get("place", 0)), validated(message)))
    return placed


def _struct_of(data: Record, kind: type[Any]) -> Any:
    """Make a struct of the known fields; `validated` converts their values."""
    return kind(**{field.name: data[field.name] for field in fields(kind) if field.name in data})
