from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lmchat.domain.message import AnswerState
from lmchat.domain.telemetry import Metrics
from lmchat.storage.schema import MIGRATIONS, VERSION
from tests.support.chats import store_at

STORED = sorted((Path(__file__).parent / "versions").glob("*.sql"))
"""A file of every version that was ever released, as it was written then."""


def test_there_is_a_stored_file_of_every_version():
    assert [int(path.stem) for path in STORED] == list(range(1, VERSION + 1))


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
async def store(request, tmp_path):
    path = tmp_path / "lmchat" / "sessions.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(request.param.read_text())
    opened = store_at(tmp_path)
    yield opened
    await opened.aclose()


async def test_all_that_an_earlier_version_wrote_is_there(store):
    (header,) = await store.list_sessions()
    assert (header.title, header.is_pinned) == ("Which vegetables grow in shade?", True)
    tree = await store.tree(header.session_id)
    assert [message.text for message in tree] == ["Which vegetables grow in shade?", "Lettuce.", "Spinach"]
    asked, first, second = tree
    assert (first.reasoning, first.tool_calls[0].arguments) == ("Let me think.", '{"q": 1}')
    assert (first.receipt.completion_tokens, first.version, first.versions) == (312, 1, 2)
    assert (second.state, second.reasoning, second.failure.kind) == (
        AnswerState.INTERRUPTED,
        "Hm",
        "interrupted",
    )
    deleted = await store.last_deleted_message(header.session_id)
    restored = await store.restore_message(header.session_id, deleted)
    assert restored.messages[-1].failure.message == "The server went away."
    assert [trashed.title for trashed in await store.list_sessions(is_trash=True)] == ["Old trash"]
    assert await store.draft("") == "half a thought"
    assert (await store.ledger_rows())[0].tokens_per_second == 42.0
    assert (await store.metrics.load()) == Metrics(total_requests=3)
    assert [hit.message_id for hit in await store.search("lettuce")] == [first.message_id]
    assert asked.parent_id is None


async def test_an_old_file_has_the_same_tables_as_a_new_one(tmp_path, store):
    await store.open()
    new = store_at(tmp_path / "new")
    await new.open()
    await new.aclose()
    tables = []
    for folder in (tmp_path, tmp_path / "new"):
        with closing(sqlite3.connect(folder / "lmchat" / "sessions.db")) as raw:
            tables.append(
                set(raw.execute("select name, sql from sqlite_master where name not like 'words_%'"))
            )
            assert raw.execute("pragma user_version").fetchone() == (len(MIGRATIONS),)
            assert raw.execute("pragma integrity_check").fetchone() == ("ok",)
    assert tables[0] == tables[1]
