"""Keeps the text of a running answer on the disk, never more than a quarter of a second behind."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from lmchat.domain.growing_answer import ANEW, Piece
from lmchat.services.keeper import Keeper

WRITE_EVERY_S = 0.17
"""Leaves 80 ms of the promised 250 for the bytes that wait to be read together, and for the write."""


class PieceWriter:
    """Collects pieces and writes them from a task of its own, so that a stalled stream is written too.

    What cannot be written is tried again with what comes next.
    """

    def __init__(self, keeper: Keeper, message_id: str) -> None:
        self._keeper = keeper
        self._message_id = message_id
        self._pieces: list[Piece] = []
        self._has_pieces = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

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
        while True:
            await self._has_pieces.wait()
            await asyncio.sleep(WRITE_EVERY_S)
            pieces, self._pieces = _joined(self._pieces), []
            self._has_pieces.clear()
            if not await self._keeper.add_pieces(self._message_id, pieces):
                later, self._pieces = self._pieces, pieces
                self.add(*later)
                self._has_pieces.set()


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Join neighbours of one kind."""
    rows: list[tuple[str, list[str]]] = []
    for kind, text in pieces:
        if rows and rows[-1][0] == kind:
            rows[-1][1].append(text)
        else:
            rows.append((kind, [text]))
    return [(kind, "".join(texts)) for kind, texts in rows]
