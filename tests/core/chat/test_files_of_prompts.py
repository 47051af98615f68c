"""Files that go with prompts: kept with them, counted, sent again with each turn, and never sent in vain."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.base.errors import FileRefused
from lmchat.base.files.images import image_type
from lmchat.core.attachments.attachment import Attachment, read_attachment
from lmchat.core.chat.preview import context_of_next_request
from lmchat.core.sessions.message import FilePart, TextPart
from lmchat.core.sessions.prompts import Prompt
from tests.support.chat_turns import ChatTurns
from tests.support.files_to_attach import image
from tests.support.scripted_backend import target


@pytest.fixture
async def notes(tmp_path) -> Attachment:
    (tmp_path / "notes.md").write_bytes(b"Lettuce likes shade.\n")
    return await read_attachment(tmp_path / "notes.md")


def picture(data: bytes = b"\x89PNG garden", *, digest: str = "", size: int = 0) -> Attachment:
    part = FilePart(
        name="garden.png", media_type="image/png", digest=digest, size=size or len(data), tokens=85
    )
    return Attachment(part=part, data=data)


async def test_a_prompt_has_its_files_first_and_they_are_sent_with_every_turn(store, notes):
    chat = ChatTurns(store)
    await chat.send("", [notes])
    assert chat.session.header.title == "notes.md"
    assert (await chat.on_disk())[0].parts == (notes.part,)
    await chat.edit(chat.path[0], "b")
    assert (await chat.on_disk())[0].parts == (notes.part, TextPart(text="b"))
    await chat.regenerate(chat.path[1])
    await chat.send("And in the sun?")
    whole = {notes.part.digest: notes.data}
    assert [request.files for request in chat.server.requests] == [whole] * 4
    await chat.edit(chat.path[0], "c", [])
    files = [(one.messages[0].text, one.messages[0].files) for one in chat.server.requests]
    kept = (notes.part,)
    assert files == [("", kept), ("b", kept), ("b", kept), ("b", kept), ("c", ())]


async def test_a_missing_file_costs_the_file_alone(store, notes):
    chat = ChatTurns(store)
    lost = Attachment(part=replace(notes.part, name="lost.md", digest="0" * 64))
    await chat.send("a", [lost, notes])
    assert chat.server.requests[0].files == {notes.part.digest: notes.data}
    assert chat.notes == ["1 file is not sent: there is no copy of it."]


async def test_a_model_that_cannot_see_is_not_asked_about_a_new_image_and_old_ones_are_named(
    store, notes
):
    chat = ChatTurns(store, target=target())
    garden = picture(digest=await store.files.save(b"\x89PNG garden"))
    await chat.send("What grows?", [garden])
    chat.sessions.turn_options.target = target(images=False)
    with pytest.raises(FileRefused, match=r"^qwen3-8b cannot see images\.$") as refused:
        await chat.send("And here?", [garden])
    assert (refused.value.kind, refused.value.exit_code) == ("no_vision", 1)
    assert len(chat.path) == 2
    assert chat.returned == [Prompt("And here?", (garden.part,)).draft]
    await chat.send("Sure?", [notes])
    assert chat.server.requests[1].files == {garden.part.digest: b"", notes.part.digest: notes.data}
    await chat.send("And now?")
    assert chat.notes == ["1 picture is not sent: this model cannot see."], "at first"
    listed = await context_of_next_request(chat.sessions, chat.session, Prompt("Then?"))
    assert [one.text for one in listed.items if one.state == "file not sent"] == ["What grows?"]
    for images in (True, False):
        chat.sessions.turn_options.target = target(images=images)
        await chat.send("And now?")
    assert chat.notes == ["1 picture is not sent: this model cannot see."] * 2


async def test_a_long_session_sends_its_newest_images_and_names_the_others(store):
    chat = ChatTurns(store)
    for number in range(3):
        data = bytes([number]) * 9
        shown = picture(data, digest=await store.files.save(data), size=10_000_000)
        await chat.send("a", [shown])
    assert list(chat.server.requests[2].files.values()) == [b"\2" * 9, b"\1" * 9, b""]
    assert chat.notes == ["1 picture is not sent: newer ones are too large."]


async def test_an_imported_image_is_sent_in_a_form_that_servers_read(store):
    chat = ChatTurns(store)
    webp = image("WEBP")
    part = picture(webp, digest=await store.files.save(webp))
    await chat.send("a", [part])
    [sent] = chat.server.requests[0].files.values()
    assert image_type(sent) == "image/jpeg"
    assert await store.files.read(part.part.digest) == webp
