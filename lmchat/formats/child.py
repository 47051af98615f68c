"""Child process that reads files in any format, and the frames in which it sends what it has read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from lmchat.domain.message import ChatMessage
from lmchat.domain.session import MessagePath, Session, SessionHeader, Skipped
from lmchat.errors import FileRefused, FormatUnknown
from lmchat.formats.reading import Reader
from lmchat.machine.process import serve

_FRAME_CHARS = 1 << 20  # of texts; decoding a frame takes a few milliseconds
_PACKED, _AS_JSON = b"m", b"j"


class ReadOrder(Struct, frozen=True, kw_only=True):
    """File to read: its path, or without one its content."""

    path: bytes = b""
    data: bytes = b""
    source: str
    moment: datetime
    folder: str
    """Folder for temporary files, which the parent removes."""


class Begun(Struct, frozen=True, kw_only=True, tag=True):
    """First frame of a session; its messages and files follow."""

    header: SessionHeader
    has_tree: bool
    branch_names: dict[str, str]


class MessageGroup(Struct, frozen=True, kw_only=True, tag=True):
    """Some messages of a session: of its tree, if it has one, else of its path."""

    messages: tuple[ChatMessage, ...]


class FileContent(Struct, frozen=True, kw_only=True, tag=True):
    """Content of a file of a session."""

    digest: str
    data: bytes


class Ended(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a session with a tree: the ids of its path."""

    path: tuple[str, ...]


class LeftOut(Struct, frozen=True, kw_only=True, tag=True):
    """A part of the file that is not imported."""

    skipped: Skipped


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a file that was refused."""

    message: str
    hint: str
    details: str
    is_unknown: bool


class Failed(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a file that the system did not let read."""

    number: int
    reason: str


class Finished(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a file that was read."""


ReadFrame = Begun | MessageGroup | FileContent | Ended | LeftOut | Refused | Failed | Finished


def packed(frame: ReadFrame) -> bytes:
    """Return a frame as bytes; only JSON can hold lone surrogates."""
    try:
        return _PACKED + msgspec.msgpack.encode(frame)
    except UnicodeEncodeError:
        return _AS_JSON + json.dumps(msgspec.to_builtins(frame)).encode()


def unpacked(data: bytes) -> ReadFrame:
    """Undo `packed`."""
    content = memoryview(data)[1:]
    frame: ReadFrame
    if data.startswith(_PACKED):
        frame = msgspec.msgpack.decode(content, type=ReadFrame)
    else:
        frame = msgspec.convert(json.loads(bytes(content)), ReadFrame)
    return frame


def whole(
    begun: Begun, messages: Iterable[ChatMessage], path: Iterable[str], files: dict[str, bytes]
) -> Session:
    """Put a session together again."""
    every_one = tuple(messages)
    known = {message.message_id: message for message in every_one}
    return Session(
        header=begun.header,
        messages=MessagePath(known[message_id] for message_id in path),
        tree=every_one if begun.has_tree else (),
        branch_names=begun.branch_names,
        files=files,
    )


def main() -> None:
    """Read the files that the parent names, one after the other."""
    serve(_answer)


def _answer(frame: bytes, send: Callable[[bytes], None]) -> None:
    order = msgspec.msgpack.decode(frame, type=ReadOrder)
    tempfile.tempdir = order.folder
    for reply in _replies(order):
        send(packed(reply))


def _replies(order: ReadOrder) -> Iterator[ReadFrame]:
    reader = Reader(order.moment, order.source)
    try:
        path = Path(os.fsdecode(order.path)) if order.path else None
        for chat in reader.data(order.data) if path is None else reader.file(path):
            if isinstance(chat, Skipped):
                yield LeftOut(skipped=chat)
            else:
                yield from _frames(chat)
    except FileRefused as error:
        yield Refused(
            message=error.message,
            hint=error.hint,
            details=error.details,
            is_unknown=isinstance(error, FormatUnknown),
        )
    except OSError as error:
        yield Failed(number=error.errno or 0, reason=error.strerror or str(error))
    else:
        yield Finished()


def _frames(session: Session) -> Iterator[ReadFrame]:
    yield Begun(
        header=session.header, has_tree=bool(session.tree), branch_names=session.branch_names
    )
    for messages in _batches(session.tree or session.messages):
        yield MessageGroup(messages=messages)
    for digest, data in session.files.items():
        yield FileContent(digest=digest, data=data)
    yield Ended(path=tuple(message.message_id for message in session.messages))


def _batches(messages: Iterable[ChatMessage]) -> Iterator[tuple[ChatMessage, ...]]:
    batch: list[ChatMessage] = []
    chars = 0
    for message in messages:
        batch.append(message)
        chars += len(message.sent_text) + len(message.reasoning) + 200
        if chars > _FRAME_CHARS:
            yield tuple(batch)
            batch.clear()
            chars = 0
    yield tuple(batch)
