"""Child process that reads files in any format, and the frames that it sends to its parent.

A frame is one message between the two processes. The parent sends a `ReadOrder` for each file. The
answer has, for each session, `SessionBegun`, groups of messages, files, and `SessionEnded`; before
or after a session, it has a `LeftOut` for each part that is not imported. It ends with `Finished`
or `Refused`.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from lmchat.errors import FileRefused, FormatUnknown
from lmchat.formats.reading import Reader
from lmchat.processes.child import serve
from lmchat.sessions.message import ChatMessage
from lmchat.sessions.session import Session, SessionHeader, Skipped

_FRAME_CHARS = 1024 * 1024  # of the messages in a frame; decoding it takes a few milliseconds
_MESSAGE_CHARS = 200  # of a message beside its texts, roughly
# First byte of a frame:
_AS_MESSAGE_PACK = b"m"
_AS_JSON = b"j"


class ReadOrder(Struct, frozen=True, kw_only=True):
    """Frame of the parent: the file to read."""

    path: bytes = b""
    """Path of the file; empty for content that was piped."""
    data: bytes = b""
    """Content that was piped."""
    source: str
    """Program that the file must be of, or `AUTO`."""
    moment: datetime
    """Time for sessions that have none."""


class SessionBegun(Struct, frozen=True, kw_only=True, tag=True):
    """First frame of a session."""

    header: SessionHeader
    has_tree: bool


class MessageGroup(Struct, frozen=True, kw_only=True, tag=True):
    """Some messages of a session: of its tree, if it has one, else of its path."""

    messages: tuple[ChatMessage, ...]


class FileContent(Struct, frozen=True, kw_only=True, tag=True):
    """Content of an image or file that is attached in a session."""

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
    """Whether the file is in no known format: the parent then raises `FormatUnknown`."""


class Finished(Struct, frozen=True, kw_only=True, tag=True):
    """Last frame of a file that was read."""


ReadFrame = SessionBegun | MessageGroup | FileContent | SessionEnded | LeftOut | Refused | Finished


def packed(frame: ReadFrame) -> bytes:
    """Return a frame as bytes, in MessagePack or, for a text with lone surrogates, in JSON."""
    try:
        return _AS_MESSAGE_PACK + msgspec.msgpack.encode(frame)
    except UnicodeEncodeError:
        return _AS_JSON + json.dumps(msgspec.to_builtins(frame)).encode()


def unpacked(data: bytes) -> ReadFrame:
    """Return the frame that `packed` has made these bytes of."""
    frame: ReadFrame
    if data.startswith(_AS_MESSAGE_PACK):
        packed_frame = memoryview(data)[len(_AS_MESSAGE_PACK) :]  # not a copy
        frame = msgspec.msgpack.decode(packed_frame, type=ReadFrame)
    else:
        frame = msgspec.convert(json.loads(data[len(_AS_JSON) :]), ReadFrame)
    return frame


def main() -> None:
    """Read the files that the parent names, one after the other."""
    serve(_read_and_send)


def _read_and_send(order_frame: bytes, send: Callable[[bytes], None]) -> None:
    """Read the file of an order, and send each frame as soon as it is made.

    `order_frame` is a `ReadOrder` in MessagePack.
    """
    order = msgspec.msgpack.decode(order_frame, type=ReadOrder)
    for frame in _file_frames(order):
        send(packed(frame))


def _file_frames(order: ReadOrder) -> Iterator[ReadFrame]:
    """Yield the frames of a file; the last one is `Finished` or `Refused`."""
    reader = Reader(order.moment, order.source)
    try:
        if order.path:
            items = reader.file(Path(os.fsdecode(order.path)))
        else:
            items = reader.data(order.data)
        for item in items:
            if isinstance(item, Skipped):
                yield LeftOut(skipped=item)
            else:
                yield from _session_frames(item)
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


def _session_frames(session: Session) -> Iterator[ReadFrame]:
    """Yield the frames of a session, with its messages in groups that are decoded quickly."""
    yield SessionBegun(header=session.header, has_tree=bool(session.tree))
    for messages in _batches(session.tree or session.messages):
        yield MessageGroup(messages=messages)
    for digest, data in session.files.items():
        yield FileContent(digest=digest, data=data)
    yield SessionEnded(path=tuple(message.message_id for message in session.messages))


def _batches(messages: Iterable[ChatMessage]) -> Iterator[tuple[ChatMessage, ...]]:
    """Yield messages in groups, one for each frame.

    A group ends with the message with which its texts exceed `_FRAME_CHARS`. The last group may be
    empty.
    """
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
