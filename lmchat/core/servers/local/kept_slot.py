"""The slot of the built-in engine, whose read prompts are kept in files.

It is saved when another session takes it and when the engine ends, and restored before the next
prompt of the session. After any failure, the prompt is read again: only `cached_tokens` says
whether it was not.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from msgspec import DecodeError, Struct, json

from lmchat.base.errors import LMChatError
from lmchat.base.files.disk import ensure_folder
from lmchat.base.files.kept_prompts import kept_prompts
from lmchat.base.processes.background import run_abandonable
from lmchat.core.servers.request import ChatRequest
from lmchat.core.sessions.message import Role

END_S = 2.0  # at the end of lmchat
_SLOT_S = 60.0  # before another prompt; llama.cpp may still read the last batch
_LEAST_TOKENS = 256  # fewer are read in one batch
_MB = 1_000_000
_DIGEST_CHARS = 16


class _Reply(Struct):
    """Reply of llama.cpp; all is 0 where it has refused."""

    n_saved: int = 0  # tokens
    n_written: int = 0  # bytes
    n_restored: int = 0  # tokens


def kept_ids(request: ChatRequest) -> tuple[str, ...]:
    """Return the ids of its messages and of its answer; a file has the first one in its name."""
    ids = [one.message_id for one in request.messages if one.role is not Role.SYSTEM]
    return (*ids, request.message_id) if request.message_id else tuple(ids)


class KeptSlot:
    """The slot of each child of the engine in turn."""

    def __init__(
        self,
        folder: Path,
        *,
        most_mb: int,
        are_saved: Callable[[Sequence[str]], Awaitable[bool]],
    ) -> None:
        """`are_saved` says whether messages are in saved sessions, and none is deleted.

        Only then may a file have their words. It may raise `LMChatError`.
        """
        self._folder = folder
        self._most_bytes = most_mb * _MB
        self._are_saved = are_saved
        self._port = 0
        self._key = ""
        self._engine = ""  # digest of model and program
        # `kept_ids` of all that may be in the slot; (): not known
        self._held: tuple[str, ...] = ()
        self._lock = asyncio.Lock()

    def start(self, port: int, key: str, files: Sequence[Path]) -> str:
        """Return the folder as llama.cpp wants it; "": keep nothing. Blocks.

        `files` are the model and the program.
        """
        self._port = port
        self._key = key
        self._held = ()
        try:
            facts = [
                (file.resolve(), file.stat().st_size, file.stat().st_mtime_ns) for file in files
            ]
            # what another model has read would be taken for right if its form fits
            self._engine = sha256(repr(facts).encode()).hexdigest()[:_DIGEST_CHARS]
            self._remove_oldest()
            if self._most_bytes:
                ensure_folder(self._folder)
                return f"{self._folder}{os.sep}"
        except OSError:
            pass
        return ""

    @asynccontextmanager
    async def holding(self, message_ids: Sequence[str]) -> AsyncIterator[None]:
        """Save another session, and restore that of a prompt with these messages."""
        held = tuple(message_ids)
        async with self._lock:
            before = self._held
            is_known = held[:1] == before[:1]
            if not is_known:
                await self.save(_SLOT_S)
                before = ()
                is_known = bool(held) and await run_abandonable(partial(self._restore, held[0]))
            # until the server has read the prompt, the slot may hold words of before
            self._held = (*held, *before) if is_known else ()
            yield
            self._held = held

    async def save(self, wait_s: float) -> None:
        """Save the slot within `wait_s`, if that may be kept; then its content is not known."""
        held = self._held
        self._held = ()
        with suppress(LMChatError, OSError):  # a `TimeoutError` is an `OSError`
            async with asyncio.timeout(wait_s):
                if held and await self._are_saved(held):
                    file = await run_abandonable(partial(self._write, held[0], wait_s))
                    if file is not None:
                        await self._check(file, held)

    async def _check(self, file: Path, held: Sequence[str]) -> None:
        """Remove a new file if a purge has come before it, which then has not seen it."""
        is_saved = False
        try:
            is_saved = await self._are_saved(held)
        finally:
            if not is_saved:
                await asyncio.to_thread(file.unlink, missing_ok=True)

    def _write(self, message_id: str, wait_s: float) -> Path | None:
        """Save the slot; the file gets its name once it is whole, and is returned."""
        file: Path | None = None
        name = f"{message_id}.{self._engine}"
        part = self._folder / f"{name}.0.{os.getpid()}"
        try:
            reply = self._ask("save", part.name, wait_s)
            if reply.n_saved >= _LEAST_TOKENS and part.stat().st_size == reply.n_written:
                file = part.replace(part.with_name(f"{name}.{reply.n_written}"))
        finally:
            for left in self._folder.glob(f"{part.name}*"):  # llama.cpp may write others beside it
                left.unlink(missing_ok=True)
        self._remove_oldest()
        return file

    def _restore(self, message_id: str) -> bool:
        """Restore the slot from a file, which goes, and return whether that has worked.

        llama.cpp ends at a file that was cut. One at which it ends is not there the next time.
        """
        with suppress(OSError):
            for file in self._folder.glob(f"{message_id}.{self._engine}.*"):
                try:
                    is_whole = file.suffix == f".{file.stat().st_size}"
                    if is_whole and self._ask("restore", file.name, _SLOT_S).n_restored:
                        return True
                finally:
                    file.unlink(missing_ok=True)
        return False

    def _ask(self, action: str, name: str, wait_s: float) -> _Reply:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=wait_s)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            body = json.encode({"filename": name})
            connection.request("POST", f"/slots/0?action={action}", body, headers)
            return json.decode(connection.getresponse().read(), type=_Reply)
        except (OSError, HTTPException, DecodeError):
            return _Reply()
        finally:
            connection.close()

    def _remove_oldest(self) -> None:
        room_bytes = self._most_bytes
        for kept in kept_prompts(self._folder):
            room_bytes -= kept.size_bytes
            if room_bytes < 0:
                kept.path.unlink(missing_ok=True)
