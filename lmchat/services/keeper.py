"""Saves what is said, goes on without a disk, and catches up when the disk is back."""

from __future__ import annotations

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

    async def append(self, header: SessionHeader, message: ChatMessage) -> None:
        """Write a prompt durably."""
        await self._write(header, message)

    async def begin_answer(self, header: SessionHeader, answer: ChatMessage) -> None:
        """Write the row of an answer that is about to stream."""
        if self._missing:
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

    async def _write(self, header: SessionHeader, message: ChatMessage) -> None:
        """Write what is missing in order, then this; keep what fails for later."""
        self._missing.append((header, message))
        try:
            while self._missing:
                await self._write_one(*self._missing[0])
                del self._missing[0]
        except LMChatError as error:
            self._failed(error)
        else:
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
