"""An error of SQLite at any statement: nothing is half-written, lost, or written twice."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.core.chat.save_queue import SaveQueue
from lmchat.core.sessions.message import AnswerState
from lmchat.core.sessions.session import MessagePath
from lmchat.core.storage import opening as connections
from tests.support.chats import answer, faults_in, header, prompt, store_at

pytestmark = pytest.mark.slow  # hundreds of stores


class Faults:
    """Says which statement fails, counted over all connections; with None, none does."""

    def __init__(self) -> None:
        self.count = 0
        self.at: int | None = None
        self.name = "SQLITE_IOERR_WRITE"

    def meet(self, statement: str) -> None:
        if statement in ("commit", "rollback"):
            return  # whether these fail or not, the tests with a full disk tell
        self.count += 1
        if self.count == self.at:
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorname = self.name
            raise error


@pytest.fixture
def faults(monkeypatch):
    found = Faults()

    class Faulty(connections.Connection):
        def execute(self, statement, *values):
            found.meet(statement)
            return super().execute(statement, *values)

        def executemany(self, statement, values):
            found.meet(statement)
            return super().executemany(statement, values)

    monkeypatch.setattr(connections, "Connection", Faulty)
    return found


async def talk(folder):
    """Say and answer twice; return what was said, and the store's error once it was over."""
    async with aclosing(store_at(folder)) as store:
        save_queue = SaveQueue(store, store.append)
        session = header()
        before = MessagePath()
        for number in range(2):
            asked = prompt(f"prompt {number}", before[-1] if before else None)
            before = before.added(asked)
            await save_queue.save(session, asked)
            said = answer(f"so far {number}", parent=asked)
            await save_queue.start_answer(
                session, replace(said, parts=(), state=AnswerState.STREAMING, stats=None)
            )
            await save_queue.add_entries(said.message_id, [("text", "so ")])
            await save_queue.add_entries(said.message_id, [("text", f"far {number}")])
            before = before.added(said)
            await save_queue.save(session, said)
        await save_queue.write_unsaved()
        warning = save_queue.warning
    return session, before, warning


async def kept(folder, session):
    store = store_at(folder)
    try:
        assert faults_in(folder / "lmchat" / "sessions.db") == ""
        hits = [hit.message_id for hit in await store.search("far")]
        return (await store.open_session(session.session_id)).messages, hits
    finally:
        await store.aclose()


@pytest.mark.parametrize(
    "name", ["SQLITE_IOERR_WRITE", "SQLITE_FULL", "SQLITE_BUSY", "SQLITE_IOERR_READ"]
)
async def test_an_error_at_any_statement_costs_nothing(tmp_path, faults, caplog, name):
    faults.name = name
    await talk(tmp_path / "none")
    total = faults.count
    assert total > 50
    for at in range(1, total + 1, 3 if name == "SQLITE_IOERR_WRITE" else 11):
        faults.count = 0
        faults.at = at
        session, said, warning = await talk(tmp_path / str(at))
        faults.at = None
        messages, hits = await kept(tmp_path / str(at), session)
        assert messages == said, at
        assert hits == [said[3].message_id, said[1].message_id], at
        assert warning is None, at
    assert ("the store failed" in caplog.text) is (name != "SQLITE_BUSY"), "that one is waited for"
