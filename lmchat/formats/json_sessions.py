"""lmchat's own JSON of a session: lossless export, and import.

A session is an object. `session` has the header, `messages` the chosen path, and `branches` all
other messages, if there are any. If there are, each message has a `place`: its number in the order
in which the messages were written. `files` has the content of attached files in Base64 by digest.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import FileRefused
from lmchat.files.images import MAX_IMAGE_BYTES, image_type
from lmchat.formats.exports.entries import PLAIN, WriteOptions
from lmchat.formats.imports.file_values import BAD_VALUE_ERRORS, Record, checked_time
from lmchat.formats.imports.foreign_chat import quoted_call
from lmchat.formats.imports.format import JsonFormat, ReadSession, omissions
from lmchat.formats.imports.sources import Source
from lmchat.formats.imports.valid_session import valid_session
from lmchat.sessions.message import ChatMessage, Part, Role, TextPart, ToolCallPart
from lmchat.sessions.session import MessagePath, Session, SessionHeader

FORMAT_NUMBER = 1  # in the field `lmchat`
_MESSAGE_FIELDS = ChatMessage.__struct_encode_fields__
# Fields of the parts by the value of `type`. Messages and parts are arrays where lmchat stores
# them, in the order of their fields.
_PART_FIELDS: dict[str, tuple[str, ...]] = {
    str(part_class.__struct_config__.tag): part_class.__struct_encode_fields__
    for part_class in get_args(Part)
}


def to_json(session: Session, _options: WriteOptions = PLAIN) -> str:
    """Return a whole session as JSON in ASCII, which has nothing that a terminal would interpret.

    The options of an export leave nothing out of it, since the import needs everything.
    """
    places: dict[str, int] = {}  # without branches, the path is in the right order already
    if session.branch_messages:
        places = {message.message_id: place for place, message in enumerate(session.tree)}
    data: Record = {"lmchat": FORMAT_NUMBER, "session": msgspec.to_builtins(session.header)}
    data["messages"] = [_record(message, places) for message in session.messages]
    if places:
        data["branches"] = [_record(message, places) for message in session.branch_messages]
    if session.files:
        data["files"] = msgspec.to_builtins(session.files)
    return json.dumps(data, indent=2) + "\n"


def _record(message: ChatMessage, places: Mapping[str, int]) -> Record:
    """Return a message as an object; msgspec makes an array of it, without the names of fields.

    `places` has the numbers of messages by their ids; it is empty if the session has no branches.
    """
    record = dict(zip(_MESSAGE_FIELDS, msgspec.to_builtins(message), strict=True))
    record["parts"] = [
        {"type": tag} | dict(zip(_PART_FIELDS[tag], values, strict=True))
        for tag, *values in record["parts"]
    ]
    if message.message_id in places:
        record["place"] = places[message.message_id]
    return record


def from_json(data: Record) -> Session:
    """Return the session of an export that was decoded from JSON.

    Raises `FileRefused` for an export of another version, or for values that were changed after
    the export.
    """
    if data["lmchat"] != FORMAT_NUMBER:
        message = "Another version of lmchat exported this: update lmchat."
        raise FileRefused(message, hint="Update lmchat.")
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
        places = [int(record.get("place", 0)) for record in records]
    except BAD_VALUE_ERRORS as error:
        hint = "Export the session again, or undo the changes to the file."
        message = "It was changed after the export."
        raise FileRefused(message, hint=hint, details=repr(error)) from error
    tree: list[ChatMessage] = []
    if len(messages) > path_length:  # else there are no branches, so the messages have no places
        placed = sorted(zip(places, messages, strict=True), key=itemgetter(0))
        tree = [message for _, message in placed]
    path = MessagePath(messages[:path_length])
    return Session(header=header, messages=path, tree=tuple(tree), files=files)


def _message(record: Record) -> ChatMessage:
    """Return the message that an object of an export describes; raises one of `BAD_VALUE_ERRORS`.

    Messages and parts are array-like structs: msgspec makes them only of arrays. So the values of
    an object are first put into the order of the fields.
    """
    parts = [[part["type"], *_values(part, _PART_FIELDS[part["type"]])] for part in record["parts"]]
    message = msgspec.convert(_values(record | {"parts": parts}, _MESSAGE_FIELDS), ChatMessage)
    return replace(message, created_at=checked_time(message.created_at))


def _values(record: Record, names: Sequence[str]) -> list[Any]:
    """Return the values of the fields that a record has; an older export lacks the last ones."""
    return [record[name] for name in names if name in record]


class OwnChat(Struct, frozen=True):
    """Session of an export of lmchat itself; its file may be hostile, too."""

    session: Session

    def finish(self, moment: datetime, *, source: str) -> ReadSession:
        """Return the session as it is imported, without a tag: `source` is lmchat itself.

        A tool call without a result becomes quoted text: it would look as if it waited to run, and
        nothing of a file may run. Tool messages lose the name of their server, since lmchat did not
        run their calls there. Answers lose the id under which a server keeps them, since opening
        the session must contact no server that the file names. Images over the limit of bytes are
        left out.
        """
        del source
        omitted: Counter[str] = Counter()
        files: dict[str, bytes] = {}
        for digest, data in self.session.files.items():
            if image_type(data) and len(data) > MAX_IMAGE_BYTES:
                omitted["image"] += 1
            else:
                files[digest] = data
        header, messages = self.session.header, self.session.messages
        tree = self.session.tree or messages  # a session without branches has no `tree`
        ids_with_results = {message.parent_id for message in tree if message.role is Role.TOOL}
        session = valid_session(
            header,
            [
                _safe(message, has_results=message.message_id in ids_with_results)
                for message in tree
            ],
            messages[-1].message_id if messages else None,
            files,
            moment,
        )
        return ReadSession(session=session, skipped=omissions(session.header.title, omitted))


def _safe(message: ChatMessage, *, has_results: bool) -> ChatMessage:
    """Return a message as it is imported; `has_results` says that its tool calls have results.

    Without results, the calls become quoted text, since they would look as if they waited to run.
    """
    if message.role is Role.TOOL:  # a call together with its result
        return replace(message, endpoint="")  # marks an imported call, which never runs again
    if has_results:
        return message
    # the texts of a message are shown without a separator: the quotation begins a paragraph
    parts = tuple(
        TextPart(text=f"\n\n{quoted_call(part.name, part.arguments).text}")
        if isinstance(part, ToolCallPart)
        else part
        for part in message.parts
    )
    return replace(message, parts=parts)


def _read(records: Sequence[Record], _: Source) -> OwnChat:
    return OwnChat(from_json(records[0]))  # the only one: `FORMAT` has no `begins_chat`


FORMAT = JsonFormat(fits=lambda record: "lmchat" in record, read=_read)
