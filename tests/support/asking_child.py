"""A process that writes whole turns into one session, as fast as it can, and says which."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace

from lmchat.storage.store import SqliteStore
from tests.support.chats import header, reply, say


async def ask(path: Path, session_id: str, name: str, turns: int) -> None:
    store = SqliteStore(path)
    session = replace(header(), session_id=session_id)
    parent = None
    for turn in range(turns):
        asked = await say(store, session, f"{name} asks {turn}", parent)
        parent = await reply(store, session, f"to {name} {turn}", asked)
        await store.update_session(session_id, {"title": f"{name} {turn}"})
    await store.aclose()
    sys.stdout.write("done\n")
    sys.stdout.flush()


asyncio.run(ask(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
