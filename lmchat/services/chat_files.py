"""Reading of chats from files in a child process.

A file may keep a parser busy without end; a process can be ended then, and a thread cannot.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path

import msgspec

from lmchat.errors import FileRefused, FormatUnknown
from lmchat.formats import reading_child
from lmchat.formats import reading_child as frames
from lmchat.processes.child import ChildEndedError, ChildProcess
from lmchat.sessions.message import ChatMessage
from lmchat.sessions.session import MessagePath, Session, Skipped

_CHILD = "lmchat.formats.reading_child"


class ChatFiles:
    """Reader of files; the child process starts with the first one and is used for all."""

    def __init__(self) -> None:
        self._child: ChildProcess | None = None

    async def chats(
        self, content: Path | bytes, *, source: str, moment: datetime
    ) -> AsyncGenerator[Session | Skipped, None]:
        """Yield the chats of a file, each as a `Session`, and what was left out as `Skipped`.

        `content` is the path of the file, or the bytes in it. `source` is the program that the file
        must be of, or `AUTO`; `moment` is the time for sessions that have none. Raises
        `FileRefused`, also if the child process ends. If the generator is closed before its end,
        the child is ended, because it would continue with this file.
        """
        is_finished = False
        try:
            if self._child is None:
                self._child = await ChildProcess.start_own(_CHILD)
            order = reading_child.ReadOrder(
                path=os.fsencode(content) if isinstance(content, Path) else b"",
                data=b"" if isinstance(content, Path) else content,
                source=source,
                moment=moment,
            )
            await self._child.send_frame(msgspec.msgpack.encode(order))
            async for item in _received_items(self._child):
                yield item
            is_finished = True
        except FileRefused:
            is_finished = True  # the child waits for the next file
            raise
        except ChildEndedError as error:
            raise FileRefused(
                "The process that works on the file ended.",
                hint="There may be too little memory for this file.",
            ) from error
        finally:
            if not is_finished:
                await self.aclose()

    async def aclose(self) -> None:
        """End the child if it runs."""
        child = self._child
        self._child = None
        if child is not None:
            await child.end()


async def _received_items(child: ChildProcess) -> AsyncGenerator[Session | Skipped, None]:
    """Yield the sessions of one file and what the child skipped, until its frame `Finished`.

    A session is joined from several frames: its beginning, groups of messages, files, and its end.
    Raises `FileRefused` if the child refuses the file, and `ChildEndedError`.
    """
    begun: frames.SessionBegun | None = None  # of the session whose frames arrive
    messages: dict[str, ChatMessage] = {}
    files: dict[str, bytes] = {}
    while True:
        match frames.unpacked(await child.receive_frame()):
            case frames.SessionBegun() as begun:
                messages = {}
                files = {}
            case frames.MessageGroup(messages=group):
                messages |= {message.message_id: message for message in group}
            case frames.FileContent(digest=digest, data=data):
                files[digest] = data
            case frames.SessionEnded(path=path) if begun is not None:
                yield Session(
                    header=begun.header,
                    messages=MessagePath(messages[message_id] for message_id in path),
                    tree=tuple(messages.values()) if begun.has_tree else (),
                    files=files,
                )
            case frames.LeftOut(skipped=skipped):
                yield skipped
            case frames.Refused() as refused:
                error_class = FormatUnknown if refused.is_unknown else FileRefused
                raise error_class(refused.message, hint=refused.hint, details=refused.details)
            case _:  # `Finished`
                return
