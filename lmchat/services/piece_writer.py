"""Keeps the text of a running answer on the disk, never more than a quarter of a second behind."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from lmchat.domain.growing_answer import ANEW, Piece
from lmchat.errors import LMChatError
from lmchat.services.ports import SessionStore

WRITE_EVERY_S = 0.17
"""Leaves 80 ms of the promised 250 for the bytes that wait to be read together, and for the write."""


class PieceWriter:
    """Collects pieces and writes them from a task of its own, so that a stalled stream is written too.

    A store that fails ends the writing, not the answer: `error` tells.
    """

    def __init__(self, store: SessionStore, message_id: str) -> None:
        self._store = store
        self._message_id = message_id
        self._pieces: list[Piece] = []
        self._has_pieces = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.error: LMChatError | None = None
        """Why pieces are no longer written."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_all(), name=f"pieces-{self._message_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop writing; what is still pending reaches the disk with the end of the answer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def add(self, *pieces: Piece) -> None:
        """Take pieces; behind `ANEW` stands all that there is."""
        if pieces:
            self._pieces = [] if pieces[0] == ANEW else self._pieces
            self._pieces += pieces
            self._has_pieces.set()

    async def _write_all(self) -> None:
        while self.error is None:
            await self._has_pieces.wait()
            await asyncio.sleep(WRITE_EVERY_S)
            pieces, self._pieces = _joined(self._pieces), []
            self._has_pieces.clear()
            try:
                await self._store.add_pieces(self._message_id, pieces)
            except LMChatError as error:
                self.error = error


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Join neighbours of one kind: a row on the disk is dearer than a longer text in it."""
    rows: list[tuple[str, list[str]]] = []
    for kind, text in pieces:
        if rows and rows[-1][0] == kind:
            rows[-1][1].append(text)
        else:
            rows.append((kind, [text]))
    return [(kind, "".join(texts)) for kind, texts in rows]
