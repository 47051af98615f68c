"""Programs on a store: `ask` writes whole turns into a session; `stream` streams an answer that never ends.

`python -m tests.support.store_child ask PATH SESSION_ID NAME TURNS` and `… stream PATH SESSION_ID KIND`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.message import AnswerState
from lmchat.domain.turn import ANEW
from lmchat.storage.store import SqliteStore
from tests.support.chats import answer, header, prompt, reply, say


def tell(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def ask(path: str, session_id: str, name: str, turns: str) -> None:
    store = SqliteStore(Path(path))
    session = replace(header(), session_id=session_id)
    parent = None
    for turn in range(int(turns)):
        asked = await say(store, session, f"{name} asks {turn}", parent)
        parent = await reply(store, session, f"to {name} {turn}", asked)
        await store.update_session(session_id, {"title": f"{name} {turn}"})
    await store.aclose()
    tell("done")


async def stream(path: str, session_id: str, kind: str) -> None:
    store = SqliteStore(Path(path))
    session, asked = replace(header(), session_id=session_id), prompt("How long?")
    await store.append(session, asked)
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.begin_answer(session_id, said)
    tell("begun")
    if kind == "nothing":
        await asyncio.Event().wait()
    if kind == "anew":
        await store.add_pieces(said.message_id, [("text", "hm "), ("text", "hm")])
        await store.add_pieces(said.message_id, [("text", "!"), ANEW, ("reasoning", "hm hm!")])
        kind = "text"
    for number in range(10**9):
        await store.add_pieces(said.message_id, [(kind, f"{number} ")])
        tell(number)


asyncio.run({"ask": ask, "stream": stream}[sys.argv[1]](*sys.argv[2:]))
