"""Values in the sessions' file that no lmchat writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from lmchat.domain.message import AnswerState
from lmchat.storage import raw_rows
from tests.support.chats import header, reply, say, store_at


@pytest.mark.parametrize("owner", ["x'00'", "x'ff40ff'", "'²@x'", "5", "null", "''"])
async def test_an_answer_whose_owner_is_no_process_ends_and_keeps_no_session_from_being_opened(
    tmp_path, store, owner
):
    session = header()
    await reply(store, session, "answered", await say(store, session, "hello"))
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw, raw:
        raw.execute(f"update messages set state = 'streaming', owner = {owner} where role = 'assistant'")  # noqa: S608 - ours
    other = store_at(tmp_path)
    await other.open()
    messages = (await other.open_session(session.session_id)).messages
    await other.aclose()
    assert messages[1].state is not AnswerState.STREAMING


async def test_a_time_that_other_zones_have_no_form_for_keeps_no_session_from_being_opened(tmp_path, store):
    session = header()
    await reply(store, session, "answered", await say(store, session, "hello"))
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw, raw:
        raw.execute(
            "update messages set state = 'streaming', owner = null, created_at = ? where role = 'assistant'",
            ("0001-01-01T00:00:00+14:00",),
        )
    other = store_at(tmp_path)
    await other.open()
    messages = (await other.open_session(session.session_id)).messages
    await other.aclose()
    assert [message.text for message in messages] == ["hello"]


def test_chains_of_pages_that_lead_in_circles_are_not_followed_for_ever(tmp_path, monkeypatch):
    """Sixty rows on each of sixty pages, each as long as the file: 200 000 pages, where 64 are there."""
    size, pages, cells, at, on_page = 1024, 64, 60, 128, 103
    length = on_page + 60 * (size - 4)
    row = bytes([0x80 | length >> 14, 0x80 | length >> 7 & 0x7F, length & 0x7F, 1])
    leaf = b"\x0d\0\0" + cells.to_bytes(2) + b"\0\0\0" + at.to_bytes(2) * cells
    leaf += row + bytes(on_page) + (2).to_bytes(4)
    itself = (2).to_bytes(4)
    content = [leaf, itself, *[leaf] * (pages - 2)]
    (tmp_path / "file").write_bytes(b"".join(page.ljust(size, b"\0") for page in content))
    read: list[int] = []
    plain = raw_rows._Pages._page

    def counted(self: raw_rows._Pages, number: int) -> bytes:
        read.append(number)
        return plain(self, number)

    monkeypatch.setattr(raw_rows._Pages, "_page", counted)
    list(raw_rows.raw_rows(tmp_path / "file"))
    assert pages * 2 < len(read) < pages * 20
