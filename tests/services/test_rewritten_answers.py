"""Answers that the user has rewritten, and answers that begin with words of the user."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.errors import RequestInvalid, ServerRejected
from lmchat.formats.json_format import to_json
from lmchat.formats.markdown_write import to_markdown
from lmchat.formats.writing import to_text
from lmchat.servers.events import RequestSent, StreamFinished, TextDelta
from lmchat.sessions.message import AnswerState, Role, now
from tests.support.chats import read_chats
from tests.support.conversations import begin, on_disk, reading, settings_for
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read

END = StreamFinished(reason="stop")
THOUGHT = "They like shade."
REFUSED = ServerRejected("Prefill is not possible.", kind="bad_request")


async def asked(store, *scripts):
    """Return a session with one answer, and its backend, which has more scripts."""
    backend = ScriptedBackend(answer_steps("Lettuce does well.", thought=THOUGHT), *scripts)
    conversation = begin(backend, store)
    await read(conversation.send("What grows in shade?", settings_for()))
    return conversation, backend


async def rewritten(store, text, *scripts):
    """Return a session whose only answer was rewritten, its backend, and the new version."""
    conversation, backend = await asked(store, *scripts)
    version = await rewrite(conversation, conversation.messages[-1], text)
    return conversation, backend, version


async def rewrite(conversation, old, text):
    version = await conversation.rewrite(old.message_id, text)
    await conversation.wait_until_saved()
    return version


async def test_a_rewritten_answer_is_another_version_that_no_server_sees(store):
    conversation, backend = await asked(store, answer_steps("Yes."))
    prompt, old = conversation.messages
    await read(conversation.send("Sure?", settings_for()))
    await rewrite(conversation, old, "Ferns do well.")
    assert await on_disk(store, conversation) == conversation.messages
    assert len(conversation.messages) == 2
    version = conversation.messages[-1]
    assert (version.text, version.reasoning) == ("Ferns do well.", "")
    assert (version.parent_id, version.model) == (prompt.message_id, old.model)
    assert (version.version, version.versions) == (2, 2)
    assert version.state is AnswerState.COMPLETE
    assert version.stats.is_edited
    assert version.stats.completion_tokens is None
    assert len(backend.requests) == 2
    back = await store.set_leaf(conversation.header.session_id, old.message_id)
    told = [message.text for message in back.messages[1:]]
    assert told == ["Lettuce does well.", "Sure?", "Yes."]
    assert (back.messages[1].reasoning, back.messages[1].stats.is_edited) == (THOUGHT, False)


async def test_no_answer_becomes_empty_or_changes_while_one_streams_and_no_prompt_is_rewritten(
    store,
):
    conversation, _ = await asked(store, [TextDelta(text="Two"), asyncio.Event()])
    before = conversation.messages
    prompt, old = (message.message_id for message in before)
    for message_id, text, words in (
        (old, "", "cannot be empty"),
        (old, " \n", "cannot be empty"),
        (prompt, "x", "Only answers"),
    ):
        with pytest.raises(RequestInvalid, match=words):
            await conversation.rewrite(message_id, text)
    assert conversation.messages == before == await on_disk(store, conversation)
    task = await reading(conversation.send("And?", settings_for()), TextDelta)
    with pytest.raises(RequestInvalid, match="still streaming"):
        await conversation.rewrite(old, "Ferns do well.")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert conversation.find(old) == before[1]


async def test_exports_show_the_rewritten_answer_with_its_mark_and_json_has_both(store):
    conversation, _, version = await rewritten(store, "Ferns do well.")
    path = await store.open_session(conversation.header.session_id)
    for text in (to_markdown(path), to_text(path)):
        assert "Ferns do well." in text
        assert "Lettuce" not in text
        assert f"{version.model} (edited)" in text
    whole = replace(path, tree=await store.tree(path.header.session_id))
    session = read_chats(to_json(whole).encode(), moment=now()).sessions[0]
    assert [(message.text, message.stats.is_edited) for message in session.tree[1:]] == [
        ("Lettuce does well.", False),
        ("Ferns do well.", True),
    ]
    assert session.messages[-1].message_id == version.message_id


# Continuing a rewritten answer


@pytest.mark.rule("R-43")
async def test_a_rewritten_answer_is_continued_behind_its_last_letter(store):
    rest = [TextDelta(text=" well"), TextDelta(text="."), END]
    conversation, backend, version = await rewritten(store, "Ferns grow ve \n ", rest)
    await read(conversation.resume(version.message_id, settings_for()))
    sent = backend.requests[1].messages[-1]
    assert (sent.role, sent.text, sent.reasoning) == (Role.ASSISTANT, "Ferns grow ve", "")
    continued = (await on_disk(store, conversation))[-1]
    assert continued.text == "Ferns grow ve well."
    assert (continued.version, continued.stats.is_edited) == (3, True)
    assert not continued.stats.is_unfinished


async def test_where_no_text_is_continued_nothing_is_sent_in_its_place_and_nothing_lost(store):
    conversation, backend, version = await rewritten(store, "Ferns gr", [REFUSED])
    for product in ("LM Studio", "OpenAI-compatible"):
        with pytest.raises(RequestInvalid, match="cannot continue a text") as caught:
            await read(conversation.resume(version.message_id, settings_for(product)))
        assert (caught.value.kind, caught.value.exit_code) == ("unsupported", 2)
    assert len(backend.requests) == 1
    assert (await on_disk(store, conversation))[-1] == version == conversation.messages[-1]
    await read(conversation.resume(version.message_id, settings_for()))
    assert len(backend.requests) == 2
    last = conversation.messages[-1]
    assert (last.text, last.failure.kind) == ("Ferns gr", "bad_request")


# First words


async def begun_with(store, first_words, *scripts, product="llama.cpp"):
    """Return a session whose next answer begins with some words, and its backend."""
    backend = ScriptedBackend(*scripts)
    conversation = begin(backend, store)
    conversation.first_words = first_words
    await read(conversation.send("What grows in shade?", settings_for(product)))
    return conversation, backend


async def test_an_answer_begins_with_the_first_words_and_only_the_next_one_does(store):
    rest = [TextDelta(text=" grow"), TextDelta(text="."), END]
    conversation, backend = await begun_with(
        store, "Ferns", rest, answer_steps("Yes."), answer_steps("No.")
    )
    sent = backend.requests[0].messages[-1]
    assert (sent.role, sent.text) == (Role.ASSISTANT, "Ferns")
    first = (await on_disk(store, conversation))[-1]
    assert (first.text, first.stats.is_edited) == ("Ferns grow.", False)
    await read(conversation.regenerate(first.message_id, settings_for()))
    await read(conversation.send("Sure?", settings_for()))
    assert [message.text for message in conversation.messages[1:]] == ["Yes.", "Sure?", "No."]
    assert all(request.messages[-1].role is Role.USER for request in backend.requests[1:])


async def test_a_stop_before_the_first_token_leaves_the_first_words_and_a_later_one_keeps_them(
    store,
):
    for script, text, left in (
        ([RequestSent(), asyncio.Event()], "", "Ferns"),
        ([TextDelta(text=" gr"), asyncio.Event()], "Ferns gr", ""),
    ):
        conversation = begin(ScriptedBackend(script), store)
        conversation.first_words = "Ferns"
        task = await reading(conversation.send("What grows?", settings_for()), type(script[0]))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        last = (await on_disk(store, conversation))[-1]
        assert (last.text, last.state) == (text, AnswerState.STOPPED)
        assert conversation.first_words == left
