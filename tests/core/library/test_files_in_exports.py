"""Files of prompts in exports, and back from them."""

from __future__ import annotations

import os
from base64 import b64encode
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.base.errors import StoreUnavailable
from lmchat.core.library.importer import Importer, ImportOutcome
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.sessions.message import FilePart
from tests.support.chats import header, prompt, store_at

IMAGE = b"\x89PNG garden"
NOTES = b"Lettuce likes shade.\n"


async def prompted(store):
    """A session whose prompt has an image with a hostile name, a text and a file that is lost."""
    session = header("Plan")
    asked = prompt("What grows here?")
    hostile = 'a"><script>\x1b.png'
    image = FilePart(
        name=hostile,
        media_type='image/png"',
        digest=await store.files.save(IMAGE),
        size=1_200_000,
        width=8,
        height=6,
    )
    notes = FilePart(
        name="notes.md", media_type="text/plain", digest=await store.files.save(NOTES), size=21
    )
    lost = replace(notes, name="lost.md", digest="0" * 64)
    await store.append(session, replace(asked, parts=(image, notes, lost, *asked.parts)))
    return await store.open_session(session.session_id)


async def exported(store, session, form):
    return await Library(store).export_text(session, ExportAs(form=form))


async def brought(store, path, text):
    path.write_text(text, encoding="utf-8")
    done = ImportOutcome()
    await Importer(store).import_files([str(path)], done)
    assert not done.refused
    (one,) = done.chats
    if "lost.md" in text:
        assert [part.reason for part in one.skipped][:1] == ["1 missing file left out"]
    return await store.open_session(one.header.session_id)


async def test_json_brings_the_files_back(tmp_path, store):
    session = await prompted(store)
    text = await exported(store, session, "json")
    async with aclosing(store_at(tmp_path / "other")) as other:
        read = await brought(other, tmp_path / "plan.json", text)
        assert read.messages == session.messages
        image, notes, lost = read.messages[0].files
        assert [await other.files.read(part.digest) for part in (image, notes)] == [IMAGE, NOTES]
        with pytest.raises(StoreUnavailable):
            await other.files.read(lost.digest)
        assert await exported(other, read, "json") == text


async def test_markdown_and_plain_text_name_the_files(store):
    session = await prompted(store)
    markdown = await exported(store, session, "md")
    assert '\n\nAttached: a"><script>␛.png (1.2 MB, 8×6)\n\n' in markdown
    assert "\n\n[Attached: notes.md (21 B)]\n\n" in await exported(store, session, "txt")


async def test_the_page_shows_images_and_names_all_files(store):
    page = await exported(store, await prompted(store), "html")
    url = f"data:image/png&quot;;base64,{b64encode(IMAGE).decode()}"
    assert f'<img src="{url}" alt="a&quot;&gt;&lt;script&gt;␛.png">' in page
    assert "<p>Attached: notes.md (21 B)</p>" in page
    assert page.count("<img") == 1
    assert "img-src data:" in page


async def test_a_file_that_only_a_draft_names_stays(tmp_path, store):
    digest = await store.files.save(IMAGE)
    os.utime(tmp_path / "attachments" / digest, (0, 0))
    await store.save_draft("", f"garden.png: sha256:{digest}\nWhat grows?", "")
    await store.daily_check()
    assert await store.files.read(digest) == IMAGE
