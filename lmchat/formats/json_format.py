"""Lossless JSON export and import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec.structs import asdict, fields

from lmchat.errors import FileRefused
from lmchat.formats.file_values import Record
from lmchat.formats.normalizing import refusing_changes, validated
from lmchat.formats.writing import WriteOptions
from lmchat.sessions.message import ChatMessage, Part
from lmchat.sessions.session import MessagePath, Session, SessionHeader

FORMAT = 1  # in the field `lmchat`
# Classes of parts by the value of their field `type`.
_PART_CLASSES: dict[str, type[Part]] = {
    part_class.__struct_config__.tag: part_class for part_class in get_args(Part)
}


def to_json(session: Session, _: WriteOptions | None = None) -> str:
    """Return a whole session as JSON in ASCII, which has nothing that a terminal would interpret.

    `messages` is the chosen path. If there are other messages, they are in `branches`, and each
    message has a `place`, its number in the order in which they were written. `files` has
    the content of attached files in Base64 by digest. The options of an export are ignored, because
    JSON is always complete.
    """
    places: dict[str, int] = {}
    if session.branches:
        places = {message.message_id: place for place, message in enumerate(session.tree)}
    data: dict[str, object] = {
        "lmchat": FORMAT,
        "session": asdict(session.header),
        "messages": [_message_record(message, places) for message in session.messages],
    }
    if places:
        data["branches"] = [_message_record(message, places) for message in session.branches]
    if session.files:
        data["files"] = msgspec.to_builtins(session.files)
    return json.dumps(data, indent=2, default=_json_value) + "\n"


def from_json(data: Record) -> Session:
    """Return the session of an export that was decoded from JSON.

    Raises `FileRefused` for an export of another version, or for values that were changed after
    the export.
    """
    if data["lmchat"] != FORMAT:
        raise FileRefused("Another version of lmchat exported this.", hint="Update lmchat.")
    with refusing_changes("Its header was changed after the export."):
        header = validated(msgspec.convert(data["session"], SessionHeader))
        files = msgspec.convert(data.get("files", {}), dict[str, bytes])
        path_records = list(data["messages"])
        branch_records = list(data.get("branches", ()))

    path = _placed_messages(path_records, "Message")
    branches = _placed_messages(branch_records, "Message of a branch")
    tree: list[tuple[int, ChatMessage]] = []
    if branches:  # else the messages have no places, and the path is all there is
        tree = sorted([*path, *branches], key=lambda placed: placed[0])
    return Session(
        header=header,
        messages=MessagePath(message for _, message in path),
        tree=tuple(message for _, message in tree),
        files=files,
    )


def _message_record(message: ChatMessage, places: Mapping[str, int]) -> dict[str, object]:
    """Return the fields of a message, and its `place` if the session has branches."""
    record = {field.encode_name: getattr(message, field.name) for field in fields(message)}
    if message.message_id in places:
        record["place"] = places[message.message_id]
    return record


def _json_value(value: Any) -> Any:
    """Return a time as text, and a struct as an object of its fields.

    A struct whose class has a tag, such as a part of a message, gets it as `type`.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    tag = value.__struct_config__.tag
    data = {"type": tag} if tag else {}
    return data | asdict(value)


def _placed_messages(records: list[Any], name: str) -> list[tuple[int, ChatMessage]]:
    """Return pairs of place and message: the number `place` of a record, and its message.

    Without branches, records have no place, and it is 0. Raises `FileRefused` for a record with a
    value that no export has; its sentence begins with `name` and the number of the record.
    """
    placed: list[tuple[int, ChatMessage]] = []
    for number, record in enumerate(records, 1):
        with refusing_changes(f"{name} {number} was changed after the export."):
            parts = tuple(_struct_of(part, _PART_CLASSES[part["type"]]) for part in record["parts"])
            message = _struct_of(record | {"parts": parts}, ChatMessage)
            placed.append((int(record.get("place", 0)), validated(message)))
    return placed


def _struct_of(record: Record, struct_class: type[Any]) -> Any:
    """Return a struct with the values that a record has for its fields; others are ignored.

    The values are of any JSON type. The caller lets `validated` convert them to the right types.
    """
    known = [field for field in fields(struct_class) if field.encode_name in record]
    return struct_class(**{field.name: record[field.encode_name] for field in known})
