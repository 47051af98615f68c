"""The store of `--temporary`: every method of the protocol works, and leaves the disk as it was."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing, closing, suppress
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ReasoningPart
from lmchat.domain.session import Session
from lmchat.errors import SessionNotFound, StoreUnavailable, WrongUse
from lmchat.services.ports import ChatStore
from lmchat.storage.session_rows import SessionRows
from lmchat.storage.store import SqliteStore
from lmchat.storage.unsaved import UnsavedStore
from tests.support.chats import (
    FIGURES,
    Clock,
    answer,
    begin_session,
    chat,
    header,
    prompt,
    reply,
    say,
    store_at,
)

MARK = "zebrafinch"
METHODS = sorted(name for name in vars(ChatStore) if not name.startswith("_"))


async def saved_chat(folder):
    """Write a session of two prompts and answers, and return it with all its messages."""
    async with aclosing(store_at(folder)) as store:
        session, asked = await begin_session(store, "Which vegetables?")
        said = await reply(store, session, "Lettuce.", asked)
        again = await say(store, session, "And herbs?", said)
        await reply(store, session, "Basil.", again)
        await store.save_draft(session.session_id, "An old draft")
        return await store.open_session(session.session_id)


@pytest.fixture
async def saved(tmp_path):
    return await saved_chat(tmp_path)


@pytest.fixture
async def unsaved(tmp_path, saved):
    store = UnsavedStore(store_at(tmp_path), clock=Clock())
    yield store
    await store.aclose()


class ReadStore(SqliteStore):
    """A store that tells when a session was read to be copied."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.was_read = asyncio.Event()

    async def session_rows(self, session_id: str) -> SessionRows:
        rows = await super().session_rows(session_id)
        self.was_read.set()
        return rows


def marked_files(folder):
    """Return the files below a folder with the word of the temporary chat."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path.name for path in files if MARK.encode() in path.read_bytes()]


def rows_on_disk(folder):
    """Return all rows of the saved sessions."""
    with closing(sqlite3.connect(folder / "lmchat" / "sessions.db")) as raw:
        tables = ("sessions", "messages", "parts", "drafts", "metrics")
        return {name: raw.execute(f"select * from {name}").fetchall() for name in tables}  # noqa: S608


class Calls:
    """One call of every method of the protocol, on a saved session and with words that tell."""

    def __init__(self, store: ChatStore, saved: Session) -> None:
        self._store = store
        self._saved = saved
        self._id = saved.header.session_id
        self._last = saved.messages[-1]

    async def aclose(self):
        await self._store.aclose()

    async def add_ledger(self):
        await self._store.add_ledger(FIGURES)

    async def add_pieces(self):
        await self._store.add_pieces(await self._begun(), [("text", MARK)])

    async def append(self):
        await self._store.append(self._saved.header, prompt(MARK, self._last))

    async def append_branch(self):
        asked = prompt(MARK, self._last)
        await self._store.append_branch(self._saved.header, [asked, answer(MARK, parent=asked)])

    async def begin_answer(self):
        await self._begun()

    async def bookmark(self):
        assert await self._store.bookmark(self._id) == ""

    async def delete_message(self):
        await self._store.delete_message(self._id, self._last.message_id)

    async def draft(self):
        assert await self._store.draft(self._id) == "An old draft"

    async def find(self):
        assert await self._store.find("last") == await self._store.find(self._id[:6]) == self._id

    async def finish(self):
        await self._store.finish(self._id, answer(MARK, parent=self._last))

    async def token_choices(self):
        assert await self._store.token_choices(self._last.message_id) == ()

    async def fork(self):
        await self._store.fork(self._id, self._last.message_id)

    async def has_message(self):
        assert await self._store.has_message(self._last.message_id)

    async def import_session(self):
        with pytest.raises(WrongUse, match="it cannot import"):
            await self._store.import_session(chat(MARK))

    async def last_deleted_message(self):
        assert await self._store.last_deleted_message(self._id) is None

    async def ledger_rows(self):
        await self._store.ledger_rows()

    async def list_sessions(self):
        assert [header.session_id for header in await self._store.list_sessions()] == [self._id]

    async def daily_check(self):
        await self._store.daily_check()

    async def open(self):
        assert await self._store.open() == ""

    async def open_session(self):
        assert (await self._store.open_session(self._id)).messages == self._saved.messages

    async def prompt_history(self):
        assert await self._store.prompt_history() == ("And herbs?", "Which vegetables?")

    async def purge(self):
        with pytest.raises(WrongUse, match="cannot delete saved sessions"):
            await self._store.purge(self._id)

    async def read_back(self):
        path, before = await self._store.read_back(self._id, self._last.message_id, count=2)
        assert (len(path), before) == (2, self._saved.messages[1].message_id)

    async def read_file(self):
        with pytest.raises(StoreUnavailable):
            await self._store.read_file(sha256(b"nothing").hexdigest())

    async def restore_message(self):
        await self._store.restore_message(self._id, self._last.message_id)

    async def save_bookmark(self):
        await self._store.save_bookmark(self._id, MARK)

    async def save_draft(self):
        await self._store.save_draft(self._id, MARK)
        await self._store.save_draft("", MARK)

    async def save_file(self):
        digest = await self._store.save_file(MARK.encode())
        assert await self._store.read_file(digest) == MARK.encode()

    async def search(self):
        assert await self._store.search(MARK) == ()

    async def set_excluded(self):
        ids = [self._last.message_id]
        await self._store.set_excluded(self._id, ids, is_excluded=True)
        path = (await self._store.open_session(self._id)).messages
        assert [one.is_excluded for one in path] == [*[False] * (len(path) - 1), True]

    async def set_leaf(self):
        await self._store.set_leaf(self._id, self._saved.messages[0].message_id)

    async def speeds(self):
        await self._store.speeds()

    async def tree(self):
        assert len(await self._store.tree(self._id)) == 4

    async def update_session(self):
        changes = {"title": MARK, "tags": (MARK,), "is_pinned": True, "is_archived": True}
        await self._store.update_session(
            self._id, changes | {"deleted_at": self._saved.header.created_at}
        )

    async def _begun(self) -> str:
        begun = replace(answer(parent=self._last, state=AnswerState.STREAMING), parts=())
        await self._store.begin_answer(self._id, begun)
        return begun.message_id


def test_each_method_of_the_protocol_is_called_here():
    assert sorted(name for name in vars(Calls) if not name.startswith("_")) == METHODS


@pytest.mark.parametrize("name", METHODS)
async def test_no_method_changes_what_is_saved_or_writes_a_word(tmp_path, saved, unsaved, name):
    before = rows_on_disk(tmp_path)
    await getattr(Calls(unsaved, saved), name)()
    assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)
    await unsaved.aclose()
    assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)
    assert {path.name for path in (tmp_path / "lmchat").iterdir()} <= {
        "sessions.db",
        *(
            f"sessions.db.backup-{path.name[-10:]}"
            for path in (tmp_path / "lmchat").glob("*.backup-*")
        ),
    }


async def test_a_copy_is_changed_in_every_way_and_the_saved_session_in_none(
    tmp_path, saved, unsaved
):
    before, session_id = rows_on_disk(tmp_path), saved.header.session_id
    opened = await unsaved.open_session(session_id)
    asked = await say(unsaved, opened.header, f"And {MARK}?", opened.messages[-1])
    begun = answer(ReasoningPart(text="Hm."), "Seed.", parent=asked)
    await unsaved.begin_answer(session_id, replace(begun, parts=(), state=AnswerState.STREAMING))
    await unsaved.add_pieces(begun.message_id, [("text", "wrong"), ("anew", ""), ("text", "Se")])
    assert (await unsaved.open_session(session_id)).messages[-1].text == "Se"
    await unsaved.finish(session_id, begun)
    await unsaved.update_session(session_id, {"title": MARK, "tags": (MARK,), "is_pinned": True})
    forked = await unsaved.fork(session_id, begun.message_id)
    assert [message.text for message in forked.messages][-2:] == [f"And {MARK}?", "Seed."]
    assert [hit.message_id for hit in await unsaved.search(MARK)][-1] == asked.message_id
    await unsaved.delete_message(session_id, asked.message_id)
    assert await unsaved.last_deleted_message(session_id) == asked.message_id
    assert len((await unsaved.restore_message(session_id, asked.message_id)).messages) == 6
    titles = [header.title for header in await unsaved.list_sessions()]
    assert sorted(titles) == [MARK, MARK]
    assert (await unsaved.prompt_history())[0] == f"And {MARK}?"
    await unsaved.update_session(session_id, {"deleted_at": Clock()()})
    assert [header.session_id for header in await unsaved.list_sessions(is_trash=True)] == [
        session_id
    ]
    await unsaved.purge(forked.header.session_id)
    assert await unsaved.list_sessions() == ()
    assert (marked_files(tmp_path), rows_on_disk(tmp_path)) == ([], before)


async def test_a_copy_has_the_deleted_messages_and_the_place_of_its_session(tmp_path, saved):
    session_id, last = saved.header.session_id, saved.messages[2].message_id
    async with aclosing(store_at(tmp_path)) as store:
        await store.save_bookmark(session_id, "here")
        await store.delete_message(session_id, last)
        async with aclosing(UnsavedStore(store)) as unsaved:
            assert len((await unsaved.restore_message(session_id, last)).messages) == 4
            assert await unsaved.bookmark(session_id) == "here"
            assert len((await store.open_session(session_id)).messages) == 2


async def test_a_change_that_is_stopped_while_its_session_is_copied_can_be_made_again(
    tmp_path, saved
):
    session_id = saved.header.session_id
    on_disk = ReadStore(tmp_path / "lmchat" / "sessions.db")
    async with aclosing(UnsavedStore(on_disk)) as unsaved:
        changing = asyncio.ensure_future(unsaved.update_session(session_id, {"title": "Dill"}))
        await on_disk.was_read.wait()  # the copy is being written into memory
        changing.cancel()
        with suppress(asyncio.CancelledError):
            await changing
        assert (await unsaved.update_session(session_id, {"title": MARK})).title == MARK


async def test_an_answer_that_streams_elsewhere_is_copied_with_what_has_arrived(tmp_path, saved):
    session_id = saved.header.session_id
    async with aclosing(store_at(tmp_path)) as store:
        begun = replace(answer(parent=saved.messages[-1], state=AnswerState.STREAMING), parts=())
        await store.begin_answer(session_id, begun)
        await store.add_pieces(begun.message_id, [("text", "Dill")])
        async with aclosing(
            UnsavedStore(SqliteStore(tmp_path / "lmchat" / "sessions.db"))
        ) as unsaved:
            forked = await unsaved.fork(session_id, begun.message_id)
        last = forked.messages[-1]
        assert (last.text, last.state) == ("Dill", AnswerState.INTERRUPTED)


async def test_a_new_session_begins_without_a_look_at_the_disk(tmp_path):
    async with aclosing(UnsavedStore(store_at(tmp_path))) as unsaved:
        session, asked = await begin_session(unsaved, MARK)
        await reply(unsaved, session, "Seed.", asked)
        assert (await unsaved.open_session(session.session_id)).messages[-1].text == "Seed."
        assert list(tmp_path.iterdir()) == []


async def test_searching_finds_as_many_saved_messages_though_copies_hide_some(tmp_path, unsaved):
    async with aclosing(store_at(tmp_path)) as store:
        sessions = [(await begin_session(store, "Sow peas"))[0].session_id for _ in range(6)]
    for session_id in sessions[-3:]:
        await unsaved.update_session(session_id, {"deleted_at": Clock()()})
    hits = await unsaved.search("peas", limit=3)
    assert [hit.session_id for hit in hits] == sessions[2::-1]


async def test_after_the_end_a_call_is_refused_with_one_sentence(unsaved):
    await unsaved.save_draft("", MARK)
    await unsaved.append(header(MARK), prompt(MARK))
    await unsaved.aclose()
    with pytest.raises(StoreUnavailable, match="lmchat is quitting"):
        await unsaved.append(header(MARK), prompt(MARK))
    with pytest.raises((StoreUnavailable, SessionNotFound)):
        await unsaved.open_session("0" * 16)
