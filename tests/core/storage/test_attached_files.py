from __future__ import annotations

import os
from contextlib import aclosing
from hashlib import sha256

import pytest
from msgspec.structs import replace

from lmchat.base.errors import StoreUnavailable
from lmchat.core.sessions.message import FilePart
from tests.support.chats import header, prompt, store_at
from tests.support.modes import is_private

DATA = b"\x89PNG\r\n\x1a\n garden"
DIGEST = sha256(DATA).hexdigest()
PART = FilePart(
    name="garden \ud800.png",
    media_type="image/png",
    digest=DIGEST,
    size=len(DATA),
    width=8,
    height=6,
)


async def ask_with_file(store):
    session = header("Plan")
    asked = prompt("What grows here?")
    assert await store.files.save(DATA) == DIGEST
    asked = replace(asked, parts=(PART, *asked.parts))
    await store.append(session, asked)
    return session, asked


async def test_a_file_is_kept_once_for_its_owner_and_its_part_as_it_was(tmp_path, store):
    session, asked = await ask_with_file(store)
    await store.fork(session.session_id, asked.message_id)
    await store.files.save(DATA)
    await store.aclose()
    async with aclosing(store_at(tmp_path)) as again:
        assert (await again.open_session(session.session_id)).messages == (asked,)
        assert await again.files.read(DIGEST) == DATA
    (path,) = (tmp_path / "lmchat" / "attachments").iterdir()
    assert is_private(path)
    assert is_private(path.parent)


async def test_a_file_of_20_mb_is_kept_and_read(store):
    data = bytes(20_000_000)
    assert await store.files.read(await store.files.save(data)) == data


async def test_a_missing_damaged_or_made_up_file_is_an_error(tmp_path, store):
    await ask_with_file(store)
    path = tmp_path / "lmchat" / "attachments" / DIGEST
    for digest in ("0" * 64, "../sessions.db"):
        with pytest.raises(StoreUnavailable, match=r"is (missing|damaged)\.$"):
            await store.files.read(digest)
    for damaged in (b"cut", b"\0" * len(DATA)):
        path.write_bytes(damaged)
        with pytest.raises(StoreUnavailable, match="is damaged"):
            await store.files.read(DIGEST)
        await store.files.save(DATA)
        assert await store.files.read(DIGEST) == DATA


async def test_a_search_finds_the_names_of_files(store):
    _, asked = await ask_with_file(store)
    (hit,) = await store.search("garden")
    assert (hit.message_id, hit.kind, hit.match) == (asked.message_id, "file", "garden")
    assert not await store.search("image/png")


async def test_a_file_whose_message_is_about_to_be_written_stays(store):
    await store.files.save(DATA)
    await store.daily_check()
    assert await store.files.read(DIGEST) == DATA


async def test_only_files_of_lmchat_are_removed_from_its_folder_when_no_message_names_them(
    tmp_path, store
):
    await ask_with_file(store)
    folder = tmp_path / "lmchat" / "attachments"
    unnamed = ("0" * 64, f".{'0' * 50}.12345678")  # the second is of a process that was killed
    for name in (*unnamed, "thesis.pdf"):  # the third is of the user, as LMCHAT_HOME is any folder
        (folder / name).write_bytes(DATA)
        os.utime(folder / name, (0, 0))
    await store.daily_check()
    assert {path.name for path in folder.iterdir()} == {DIGEST, "thesis.pdf"}
