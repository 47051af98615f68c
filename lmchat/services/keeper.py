"""Saves what is said, goes on without a disk, and catches up when the disk is back."""

from __future__ import annotations

import asyncio
import logging

from lmchat.domain.message import AnswerState, ChatMessage
from lmchat.domain.session import SessionHeader
from lmchat.domain.telemetry import LedgerRow
from lmchat.errors import LMChatError
from lmchat.services.ports import SessionStore

log = logging.getLogger(__name__)


class Keeper:
    """Writes to the store; a failed write is told by `warning` and repeated with the next one."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store
        self.warning: LMChatError | None = None
        """Why what is said now is not saved; None while all is well."""
        self._missing: list[tuple[SessionHeader, ChatMessage]] = []
        self._lock = asyncio.Lock()

    async def append(self, header: SessionHeader, message: ChatMessage) -> None:
        """Write a prompt durably."""
        await self._write(header, message)

    async def begin_answer(self, header: SessionHeader, answer: ChatMessage) -> None:
        """Write the row of an answer that is about to stream."""
        if self.is_missing(header.session_id):
            return  # its parent is not on the disk; the whole answer is written at its end
        try:
            await self.store.begin_answer(header.session_id, answer)
        except LMChatError as error:
            self._failed(error)

    async def finish(self, header: SessionHeader, answer: ChatMessage) -> None:
        """Write the end of an answer durably."""
        await self._write(header, answer)

    async def add_ledger(self, row: LedgerRow) -> None:
        """Keep the figures of a turn; they are not worth a warning of their own."""
        if self.warning is not None:
            return
        try:
            await self.store.add_ledger(row)
        except LMChatError as error:
            log.warning("the ledger could not be written: %s", error.kind)

    def is_missing(self, session_id: str) -> bool:
        """Whether something of a session is in memory only."""
        return any(header.session_id == session_id for header, _ in self._missing)

    async def catch_up(self) -> None:
        """Write what is missing; a caller that is cancelled meanwhile does not cancel the writing."""
        await asyncio.shield(asyncio.ensure_future(self._write_missing()))

    async def _write(self, header: SessionHeader, message: ChatMessage) -> None:
        self._missing.append((header, message))
        await self.catch_up()

    async def _write_missing(self) -> None:
        """Write in order, one writer at a time; a session that fails does not hold up the others."""
        async with self._lock:
            failed: dict[str, LMChatError] = {}
            for entry in list(self._missing):
                session_id = entry[0].session_id
                if session_id in failed:
                    continue
                try:
                    await self._write_one(*entry)
                except LMChatError as error:
                    failed[session_id] = error
                    self._failed(error)
                else:
                    self._missing = [other for other in self._missing if other is not entry]
            if not failed:
                self.warning = None

    async def _write_one(self, header: SessionHeader, message: ChatMessage) -> None:
        is_answer = message.receipt is not None or message.state is not AnswerState.COMPLETE
        if is_answer:
            await self.store.finish(header.session_id, message)
        else:
            await self.store.append(header, message)

    def _failed(self, error: LMChatError) -> None:
        self.warning = error
        log.warning("the store failed: %s", error.kind)
