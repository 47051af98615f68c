"""Files that go with prompts: kept with them, counted, sent again with each turn, and never sent in vain."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.chat.answering import TurnSettings
from lmchat.chat.attachments import Attachment, read_attachment
from lmchat.chat.save_queue import SaveQueue
from lmchat.errors import FileRefused, StoreUnavailable
from lmchat.servers.events import RequestAdapted
from lmchat.sessions.message import FilePart, TextPart
from tests.support.conversations import SETTINGS, begin, on_disk
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read, target

BLIND = TurnSettings(target=target(is_blind=True))


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
    backend = ScriptedBackend(*(answer_steps() for _ in range(5)))
    conversation = begin(backend, store)
    await read(conversation.send("", SETTINGS, [notes]))
    assert conversation.header.title == "notes.md"
    assert (await on_disk(store, conversation))[0].parts == (notes.part,)
    asked = conversation.messages[0].message_id
    await read(conversation.edit(asked, "b", SETTINGS))
    assert (await on_disk(store, conversation))[0].parts == (notes.part, TextPart(text="b"))
    await read(conversation.regenerate(conversation.messages[1].message_id, SETTINGS))
    await read(conversation.send("And in the sun?", SETTINGS))
    whole = {notes.part.digest: notes.data}
    assert [request.files for request in backend.requests] == [whole] * 4
    await read(conversation.edit(conversation.messages[0].message_id, "c", SETTINGS, []))
    files = [(one.messages[0].text, one.messages[0].files) for one in backend.requests]
    kept = (notes.part,)
    assert files == [("", kept), ("b", kept), ("b", kept), ("b", kept), ("c", ())]


async def test_a_missing_file_is_reported_and_costs_the_file_alone(store, notes):
    backend = ScriptedBackend(answer_steps())
    lost = Attachment(part=replace(notes.part, name="lost.md", digest="0" * 64))
    events = await read(begin(backend, store).send("a", SETTINGS, [lost, notes]))
    assert [event.note for event in events if isinstance(event, RequestAdapted)] == [
        "lost.md is missing on this disk; its name is sent instead."
    ]
    assert backend.requests[0].files == {notes.part.digest: notes.data}


async def test_a_file_that_cannot_be_written_is_sent_and_written_later(store, notes, monkeypatch):
    save, failures = store.save_file, [StoreUnavailable("The disk is full.")]

    async def fail_once(data):
        if failures:
            raise failures.pop()
        return await save(data)

    monkeypatch.setattr(store, "save_file", fail_once)
    backend, queue = ScriptedBackend(answer_steps()), SaveQueue(store)
    conversation = begin(backend, store, save_queue=queue)
    await read(conversation.send("a", SETTINGS, [notes]))
    await queue.write_unsaved()
    assert backend.requests[0].files == {notes.part.digest: notes.data}
    assert (await on_disk(store, conversation))[0].files == (notes.part,)
    assert await store.read_file(notes.part.digest) == notes.data


async def test_a_model_that_cannot_see_is_not_asked_about_a_new_image_and_old_ones_are_named(
    store, notes
):
    backend = ScriptedBackend(answer_steps("Lettuce."), answer_steps("Yes."))
    conversation = begin(backend, store)
    image = picture(digest=await store.save_file(b"\x89PNG garden"))
    await read(conversation.send("What grows?", SETTINGS, [image]))
    with pytest.raises(FileRefused, match=r"^qwen3-8b cannot see images\.$") as refused:
        await read(conversation.send("And here?", BLIND, [image]))
    assert (refused.value.kind, refused.value.exit_code) == ("no_vision", 1)
    assert len(conversation.messages) == 2
    await read(conversation.send("Sure?", BLIND, [notes]))
    assert backend.requests[1].files == {image.part.digest: b"", notes.part.digest: notes.data}


async def test_a_long_session_sends_its_newest_images_and_names_the_others(store):
    backend = ScriptedBackend(*(answer_steps() for _ in range(3)))
    conversation = begin(backend, store)
    for number in range(3):
        data = bytes([number]) * 9
        image = picture(data, digest=await store.save_file(data), size=10_000_000)
        await read(conversation.send("a", SETTINGS, [image]))
    assert list(backend.requests[2].files.values()) == [b"\2" * 9, b"\1" * 9, b""]
