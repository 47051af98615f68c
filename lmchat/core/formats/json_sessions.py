"""lmchat's own JSON of a session: lossless export, and import.

`messages` has the active path, `branches` all other messages. If there are any, each message has a
`place`: its number in the order of writing. `files` has attached files in Base64 by digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, get_args

import msgspec
from msgspec.structs import asdict, replace

from lmchat.base.errors import FileRefused
from lmchat.base.files.images import MAX_IMAGE_BYTES, image_type
from lmchat.core.formats.exports.entries import PLAIN, WriteOptions
from lmchat.core.formats.reading import (
    BAD_VALUE_ERRORS,
    LONGEST_TITLE,
    Format,
    Record,
    Source,
    checked_time,
    local_id,
    omissions,
    quoted_call,
)
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    FilePart,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    interrupted,
)
from lmchat.core.sessions.session import MessagePath, Session, SessionHeader, tags_from

FORMAT_NUMBER = 1  # in the field `lmchat`
_LARGEST_FIGURE = 1e13  # of milliseconds (300 years), tokens, bytes or pixels
_MESSAGE_FIELDS = ChatMessage.__struct_encode_fields__
# By `type`. lmchat stores messages and parts as arrays, in the order of their fields.
_PART_FIELDS: dict[str, tuple[str, ...]] = {
    str(part_class.__struct_config__.tag): part_class.__struct_encode_fields__
    for part_class in get_args(Part)
}


def to_json(session: Session, _options: WriteOptions = PLAIN) -> str:
    """Write a whole session in ASCII, which has nothing that a terminal would interpret.

    No option leaves anything out: the import needs everything.
    """
    positions: dict[str, int] = {}  # without branches, the path is in the right order
    if session.branch_messages:
        positions = {message.message_id: position for position, message in enumerate(session.tree)}
    data: Record = {"lmchat": FORMAT_NUMBER, "session": msgspec.to_builtins(session.header)}
    data["messages"] = [_record(message, positions) for message in session.messages]
    if positions:
        data["branches"] = [_record(message, positions) for message in session.branch_messages]
    if session.files:
        data["files"] = msgspec.to_builtins(session.files)
    return json.dumps(data, indent=2) + "\n"


def _record(message: ChatMessage, positions: Mapping[str, int]) -> Record:
    """Make an object of a message; msgspec makes an array, without the names of fields.

    `positions` has the numbers of messages by id, if the session has branches.
    """
    record = dict(zip(_MESSAGE_FIELDS, msgspec.to_builtins(message), strict=True))
    record["parts"] = [
        {"type": tag}
        | {
            name: value
            for name, value in zip(_PART_FIELDS[tag], values, strict=True)
            if value or name != "others"
        }
        for tag, *values in record["parts"]
    ]
    if message.message_id in positions:
        record["place"] = positions[message.message_id]
    return record


def from_json(data: Record) -> Session:
    """Raises `FileRefused` for an export of another version, or with changed values."""
    if data["lmchat"] != FORMAT_NUMBER:
        raise FileRefused(
            "Another version of lmchat exported this: update lmchat.", next_step="Update lmchat."
        )
    try:
        header = msgspec.convert(data["session"], SessionHeader)
        header = replace(
            header,
            created_at=checked_time(header.created_at),
            updated_at=checked_time(header.updated_at),
        )
        files = msgspec.convert(data.get("files", {}), dict[str, bytes])
        path_length = len(data["messages"])
        records = [*data["messages"], *data.get("branches", ())]
        messages = [_message(record) for record in records]
        positions = [int(record.get("place", 0)) for record in records]
    except BAD_VALUE_ERRORS as error:
        raise FileRefused(
            "It was changed after the export.",
            next_step="Export the session again, or undo the changes to the file.",
            details=repr(error),
        ) from error
    tree: list[ChatMessage] = []
    if len(messages) > path_length:  # else there are no branches, and no places
        placed = sorted(zip(positions, messages, strict=True), key=itemgetter(0))
        tree = [message for _, message in placed]
    path = MessagePath(messages[:path_length])
    return Session(header=header, messages=path, tree=tuple(tree), files=files)


def _message(record: Record) -> ChatMessage:
    """Raises one of `BAD_VALUE_ERRORS`.

    msgspec makes messages and parts only of arrays, in the order of the fields.
    """
    parts = [[part["type"], *_values(part, _PART_FIELDS[part["type"]])] for part in record["parts"]]
    message = msgspec.convert(_values(record | {"parts": parts}, _MESSAGE_FIELDS), ChatMessage)
    return replace(message, created_at=checked_time(message.created_at))


def _values(record: Record, names: Sequence[str]) -> list[Any]:
    """Return the values of fields; an older export lacks the last ones."""
    return [record[name] for name in names if name in record]


def _session(records: Sequence[Record], _source: Source, now: datetime) -> Session:
    """Return the session as it is imported; the file may be hostile.

    Images over the limit of bytes are left out. Foreign ids become hashes. A deleted session is not
    deleted any more. Raises `FileRefused` if ids are not unique, or if a message comes before its
    parent, as in a loop.
    """
    session = from_json(records[0])
    header = session.header
    files = {
        digest: data
        for digest, data in session.files.items()
        if len(data) <= MAX_IMAGE_BYTES or not image_type(data)
    }
    session_id = local_id(header.session_id)
    tree = session.tree or session.messages  # without branches, there is no `tree`
    named = {part.digest for message in tree for part in message.files}
    calling_ids = {message.parent_id for message in tree if message.role is Role.TOOL}
    ids: dict[str | None, str] = {  # by those in the file
        message.message_id: local_id(message.message_id, session_id) for message in tree
    }
    by_id: dict[str, ChatMessage] = {}
    for message in tree:
        sound = _safe(message, has_results=message.message_id in calling_ids)
        sound = replace(
            sound,
            message_id=ids[message.message_id],
            parent_id=ids.get(message.parent_id),
            parts=tuple(map(_sound_part, sound.parts)),
            stats=message.stats if message.stats and _has_usual_figures(message.stats) else None,
        )
        if sound.message_id in by_id:
            raise FileRefused("Two of its messages have the same id.", next_step="Export it again.")
        if sound.parent_id is not None and sound.parent_id not in by_id:
            raise FileRefused(
                "Its messages are out of order or form a loop.", next_step="Export it again."
            )
        by_id[sound.message_id] = sound
    path: list[ChatMessage] = []
    above = ids[session.messages[-1].message_id] if session.messages else None
    while above is not None:
        path.append(by_id[above])
        above = by_id[above].parent_id
    header = replace(
        header,
        session_id=session_id,
        title=header.title[:LONGEST_TITLE],
        tags=tags_from(" ".join(header.tags)),
        # one in the future would keep the session on top
        updated_at=min(header.updated_at, now),
        deleted_at=None,
        parent_id=None if header.parent_id is None else local_id(header.parent_id),
        message_count=len(by_id),
    )
    return Session(
        header=header,
        messages=MessagePath(reversed(path)),
        # only if the path lacks some of it
        tree=tuple(by_id.values()) if len(path) < len(by_id) else (),
        files=files,
        skipped=omissions(
            header.title,
            {
                "image": len(session.files) - len(files),
                "missing file": len(named - {*session.files}),
            },
        ),
    )


def _safe(message: ChatMessage, *, has_results: bool) -> ChatMessage:
    """Return a message as it is imported; `has_results`: its tool calls have results.

    Without, the calls become quoted text: they would look as if they waited to run, and nothing of
    a file may run.
    """
    if message.state is AnswerState.STREAMING:
        message = interrupted(message, "The session was exported")
    if message.role is Role.TOOL:  # a call together with its result
        return replace(message, endpoint="")  # marks an imported call, which never runs again
    if has_results:
        return message
    # texts of a message are shown without a separator: the quotation starts a paragraph
    parts = tuple(
        TextPart(text=f"\n\n{quoted_call(part.name, part.arguments).text}")
        if isinstance(part, ToolCallPart)
        else part
        for part in message.parts
    )
    return replace(message, parts=parts)


def _sound_part(part: Part) -> Part:
    """Set the figures of an attached file to 0 (unknown) if one is too large."""
    if isinstance(part, FilePart) and not _has_usual_figures(part):
        return replace(part, size=0, width=0, height=0, tokens=0, place=None)
    return part


def _has_usual_figures(value: FilePart | AnswerStats) -> bool:
    """Whether they can be shown; NaN cannot: it is not smaller than any number."""
    figures = (figure for figure in asdict(value).values() if isinstance(figure, int | float))
    return all(abs(figure) < _LARGEST_FIGURE for figure in figures)


FORMAT = Format(fits=lambda record: "lmchat" in record, session=_session)
