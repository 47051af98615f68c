"""A process that streams an answer into a store and says which pieces are on the disk; it never ends."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.message import AnswerState
from lmchat.domain.turn import ANEW
from lmchat.storage.store import SqliteStore
from tests.support.chats import answer, header, prompt


async def stream(path: Path, session_id: str, kind: str) -> None:
    store = SqliteStore(path)
    session, asked = replace(header(), session_id=session_id), prompt("How long?")
    await store.append(session, asked)
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.begin_answer(session_id, said)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    if kind == "nothing":
        await asyncio.Event().wait()
    if kind == "anew":
        await store.add_pieces(said.message_id, [("text", "hm "), ("text", "hm")])
        await store.add_pieces(said.message_id, [("text", "!"), ANEW, ("reasoning", "hm hm!")])
        kind = "text"
    for number in range(10**9):
        await store.add_pieces(said.message_id, [(kind, f"{number} ")])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


asyncio.run(stream(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
