"""Child process that reads files in any format, and the frames in which it sends what it has read.

A session is sent as `SessionBegun`, its messages and files in groups, and `SessionEnded`.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from lmchat.domain.message import ChatMessage
from lmchat.domain.session import Session, SessionHeader, Skipped
from lmchat.errors import FileRefused, FormatUnknown
from lmchat.formats.reading import Reader
from lmchat.machine.process import serve

_FRAME_CHARS = 1 << 20  # of texts; decoding a frame takes a few milliseconds
_MESSAGE_CHARS = 200  # of a message beside its texts
_PACKED = b"m"  # first byte of a frame in MessagePack
_AS_JSON = b"j"


class ReadOrder(Struct, frozen=True, kw_only=True):
    """File to read: its path, or without one its content."""

    path: bytes = b""
    data: bytes = b""
    source: str
    moment: datetime
    folder: str
    """Folder for temporary files, which the parent removes."""


class SessionBegun(Struct, frozen=True, kw_only=True, tag=True):
    """First frame of a session."""

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


class SessionEnded(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a session: the ids of its path."""

    path: tuple[str, ...]


class LeftOut(Struct, frozen=True, kw_only=True, tag=True):
    """A part of the file that is not imported."""

    skipped: Skipped


class Refused(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a file that was refused."""

    message: str
    hint: str
    details: str = ""
    is_unknown: bool = False


class Finished(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a file that was read."""


ReadFrame = SessionBegun | MessageGroup | FileContent | SessionEnded | LeftOut | Refused | Finished


def packed(frame: ReadFrame) -> bytes:
    """Return a frame as bytes; only JSON can hold lone surrogates."""
    try:
        return _PACKED + msgspec.msgpack.encode(frame)
    except UnicodeEncodeError:
        return _AS_JSON + json.dumps(msgspec.to_builtins(frame)).encode()


def unpacked(data: bytes) -> ReadFrame:
    """Undo `packed`."""
    frame: ReadFrame
    if data.startswith(_PACKED):
        frame = msgspec.msgpack.decode(memoryview(data)[1:], type=ReadFrame)
    else:
        frame = msgspec.convert(json.loads(data[1:]), ReadFrame)
    return frame


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
        path = Path(os.fsdecode(order.path))
        for item in reader.file(path) if order.path else reader.data(order.data):
            if isinstance(item, Skipped):
                yield LeftOut(skipped=item)
            else:
                yield from _frames(item)
    except FileRefused as error:
        yield Refused(
            message=error.message,
            hint=error.hint,
            details=error.details,
            is_unknown=isinstance(error, FormatUnknown),
        )
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EFBIG:
            reason = "it is too large"
        yield Refused(message=f"It cannot be read: {reason}.", hint="Check the path.")
    else:
        yield Finished()


def _frames(session: Session) -> Iterator[ReadFrame]:
    yield SessionBegun(
        header=session.header, has_tree=bool(session.tree), branch_names=session.branch_names
    )
    for messages in _batches(session.tree or session.messages):
        yield MessageGroup(messages=messages)
    for digest, data in session.files.items():
        yield FileContent(digest=digest, data=data)
    yield SessionEnded(path=tuple(message.message_id for message in session.messages))


def _batches(messages: Iterable[ChatMessage]) -> Iterator[tuple[ChatMessage, ...]]:
    batch: list[ChatMessage] = []
    chars = 0
    for message in messages:
        batch.append(message)
        chars += len(message.sent_text) + len(message.reasoning) + _MESSAGE_CHARS
        if chars > _FRAME_CHARS:
            yield tuple(batch)
            batch.clear()
            chars = 0
    yield tuple(batch)
