"""Reading of files with chats in a child process: they are untrusted, and some take very long."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from lmchat.base.errors import FileRefused, FormatUnknown
from lmchat.base.json_values import utf8_safe
from lmchat.base.processes.child import ChildEndedError, ChildProcess
from lmchat.base.processes.frames import answer_parent, limit_memory
from lmchat.core.formats.programs import AUTO, Program
from lmchat.core.formats.reader import read_chats
from lmchat.core.sessions.message import ChatMessage, now
from lmchat.core.sessions.session import MessagePath, Session, Skipped

_CHILD = "lmchat.core.formats.reader_child"
_MAX_MEMORY_BYTES = 4_000_000_000  # the largest chat takes 1 GB if it is ASCII, 3 GB in Chinese


class _Request(msgspec.Struct, frozen=True):
    """Arguments of `read_chats`."""

    name: str
    is_path: bool  # the content is the path of a file
    content: bytes
    now: datetime
    wanted: str
    programs: tuple[tuple[str, str, str, bool], ...]  # without what the child does not need


class _Refusal(msgspec.Struct, frozen=True, tag=True):
    """A `FileRefused`, or `FormatUnknown`; the last reply about a file."""

    message: str
    next_step: str
    details: str
    is_unknown: bool


def _value(kind: type[Any], value: Any) -> Any:
    """Make what msgspec does not know: a `MessagePath`, or any object."""
    is_path = kind is MessagePath
    return MessagePath(msgspec.convert(value, tuple[ChatMessage, ...])) if is_path else value


_REQUESTS = msgspec.msgpack.Decoder(_Request)
# None is the last reply about a file
_REPLIES = msgspec.msgpack.Decoder(Session | Skipped | _Refusal | None, dec_hook=_value)


def main() -> None:
    limit_memory(_MAX_MEMORY_BYTES)
    answer_parent(_answer)


def _answer(frame: bytes, send: Callable[[bytes], None]) -> None:
    request = _REQUESTS.decode(frame)
    content = Path(os.fsdecode(request.content)) if request.is_path else request.content
    encode = msgspec.msgpack.encode
    try:
        programs = [Program(*fields) for fields in request.programs]
        for found in read_chats(
            request.name, content, now=request.now, wanted=request.wanted, programs=programs
        ):
            send(encode(found))
    except FileRefused as error:
        is_unknown = isinstance(error, FormatUnknown)
        send(encode(_Refusal(error.message, error.next_step, error.details, is_unknown)))
    else:
        send(encode(None))


class ChatReader:
    """Reader of files with chats; its child process starts with the first file."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = tuple(
            (program.source, program.name, program.module, program.is_database)
            for program in programs
        )
        self._child: ChildProcess | None = None

    async def read(
        self, name: str, content: Path | bytes, *, wanted: str = AUTO
    ) -> AsyncGenerator[Session | Skipped, None]:
        """Yield what `read_chats` does, and raise its errors; a path must be absolute.

        After a file that was not read to its end, close the reader. Raises `LMChatError` if no
        process can start.
        """
        is_path = isinstance(content, Path)
        data = os.fsencode(content) if isinstance(content, Path) else content
        request = _Request(utf8_safe(name), is_path, data, now(), wanted, self._programs)
        self._child = self._child or await ChildProcess.start_own(_CHILD)
        try:
            await self._child.send_frame(msgspec.msgpack.encode(request))
            while reply := _REPLIES.decode(await self._child.receive_frame()):
                if isinstance(reply, _Refusal):
                    kind = FormatUnknown if reply.is_unknown else FileRefused
                    raise kind(reply.message, next_step=reply.next_step, details=reply.details)
                yield reply
        except ChildEndedError as error:
            await self.aclose()
            raise FileRefused(
                f"{name} cannot be read: the process reading it ended, as for lack of memory.",
                next_step="Export fewer chats at once.",
            ) from error

    async def aclose(self) -> None:
        """End the child process, whatever it reads."""
        child = self._child
        self._child = None
        if child is not None:
            await child.end()
