"""Answers that the user has rewritten, and answers that begin with words of the user."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.domain.event import ReasoningDelta, StreamFinished, TextDelta
from lmchat.domain.message import AnswerState, Role, now
from lmchat.domain.product import Product
from lmchat.domain.session import Session
from lmchat.errors import RequestInvalid, ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.formats.json_format import to_json
from lmchat.formats.markdown_write import to_markdown
from lmchat.formats.writing import to_text
from tests.services.test_conversation import begin, on_disk, reading, settings_for
from tests.support.chats import read_chats
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read

END = StreamFinished(reason="stop")
THOUGHT = "They like shade."
CUT = StreamInterrupted("The connection broke.")
OFFLINE = ServerUnavailable("Nothing answers.")
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


async def with_branches(store, conversation) -> Session:
    session = await store.open_session(conversation.header.session_id)
    return replace(session, tree=await store.tree(conversation.header.session_id))


async def test_a_rewritten_answer_is_another_version_that_no_server_sees(store):
    conversation, backend = await asked(store)
    prompt, old = conversation.messages
    await rewrite(conversation, old, "Ferns do well.")
    shown, saved = conversation.messages[-1], (await on_disk(store, conversation))[-1]
    for version in (shown, saved):
        assert (version.text, version.reasoning) == ("Ferns do well.", "")
        assert (version.parent_id, version.model) == (prompt.message_id, old.model)
        assert (version.version, version.versions) == (2, 2)
        assert version.state is AnswerState.COMPLETE
        assert version.receipt.is_edited
        assert version.receipt.completion_tokens is None
    tree = await store.tree(conversation.header.session_id)
    assert [message.text for message in tree[1:]] == ["Lettuce does well.", "Ferns do well."]
    assert tree[1].reasoning == THOUGHT
    assert not tree[1].receipt.is_edited
    assert len(backend.requests) == 1


async def test_messages_after_a_rewritten_answer_stay_on_the_branch_of_the_old_one(store):
    conversation, _ = await asked(store, answer_steps("Yes."))
    old = conversation.messages[-1]
    await read(conversation.send("Sure?", settings_for()))
    await rewrite(conversation, old, "Ferns do well.")
    assert [message.text for message in await on_disk(store, conversation)] == [
        "What grows in shade?",
        "Ferns do well.",
    ]
    back = await store.set_leaf(conversation.header.session_id, old.message_id)
    assert [message.text for message in back.messages][2:] == ["Sure?", "Yes."]


@pytest.mark.parametrize("text", ["", " \n"])
async def test_an_answer_cannot_become_empty(store, text):
    conversation, _ = await asked(store)
    before = conversation.messages
    with pytest.raises(RequestInvalid, match="cannot be empty"):
        await conversation.rewrite(before[-1].message_id, text)
    assert conversation.messages == before == await on_disk(store, conversation)


async def test_a_prompt_is_not_rewritten(store):
    conversation, _ = await asked(store)
    with pytest.raises(RequestInvalid, match="Only answers"):
        await conversation.rewrite(conversation.messages[0].message_id, "x")


async def test_no_answer_is_rewritten_while_one_streams(store):
    conversation, _ = await asked(store, [TextDelta(text="Two"), asyncio.Event()])
    first = conversation.messages[-1]
    task = await reading(conversation.send("And?", settings_for()), TextDelta)
    with pytest.raises(RequestInvalid, match="still streaming"):
        await conversation.rewrite(first.message_id, "Ferns do well.")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert conversation.find(first.message_id).text == "Lettuce does well."


async def test_a_json_export_has_both_texts_and_an_import_brings_them_back(store):
    conversation, _, version = await rewritten(store, "Ferns do well.")
    text = to_json(await with_branches(store, conversation))
    session = read_chats(text.encode(), moment=now()).sessions[0]
    assert {(message.text, message.receipt.is_edited) for message in session.tree[1:]} == {
        ("Lettuce does well.", False),
        ("Ferns do well.", True),
    }
    assert session.messages[-1].message_id == version.message_id


async def test_markdown_and_text_show_the_rewritten_answer_with_its_mark(store):
    conversation, _, version = await rewritten(store, "Ferns do well.")
    path = await store.open_session(conversation.header.session_id)
    for text in (to_markdown(path), to_text(path)):
        assert "Ferns do well." in text
        assert "Lettuce" not in text
        assert f"{version.model} (edited)" in text


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
    assert (continued.version, continued.receipt.is_edited) == (3, True)
    assert not continued.receipt.is_unfinished


@pytest.mark.parametrize("product", [Product.LM_STUDIO, Product.OPENAI_COMPATIBLE])
async def test_where_no_text_is_continued_nothing_is_sent_and_nothing_lost(store, product):
    conversation, backend, version = await rewritten(store, "Ferns gr")
    with pytest.raises(RequestInvalid, match="cannot continue a text") as caught:
        await read(conversation.resume(version.message_id, settings_for(product)))
    assert (caught.value.kind, caught.value.exit_code) == ("unsupported", 2)
    assert len(backend.requests) == 1
    assert conversation.messages[-1] == version
    assert (await on_disk(store, conversation))[-1] == version


async def test_a_server_that_refuses_the_text_gets_no_prompt_in_its_place(store):
    conversation, backend, version = await rewritten(store, "Ferns gr", [REFUSED])
    await read(conversation.resume(version.message_id, settings_for()))
    assert len(backend.requests) == 2
    last = conversation.messages[-1]
    assert (last.text, last.failure.kind) == ("Ferns gr", "bad_request")


# First words


async def begun_with(store, first_words, *scripts, product=Product.LLAMA_CPP):
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
    assert (first.text, first.receipt.is_edited) == ("Ferns grow.", False)
    await read(conversation.regenerate(first.message_id, settings_for()))
    await read(conversation.send("Sure?", settings_for()))
    assert [message.text for message in conversation.messages[1:]] == ["Yes.", "Sure?", "No."]
    assert all(request.messages[-1].role is Role.USER for request in backend.requests[1:])


async def test_an_answer_that_is_over_at_once_has_its_first_words(store):
    conversation, _ = await begun_with(store, "Ferns", [END])
    last = conversation.messages[-1]
    assert (last.text, last.state) == ("Ferns", AnswerState.COMPLETE)


async def test_a_thought_stays_before_the_first_words(store):
    rest = [ReasoningDelta(text="Hm."), TextDelta(text=" grow."), END]
    conversation, _ = await begun_with(store, "Ferns", rest)
    last = conversation.messages[-1]
    assert (last.reasoning, last.text) == ("Hm.", "Ferns grow.")


async def test_a_request_that_failed_leaves_the_first_words_for_the_next_answer(store):
    conversation, backend = await begun_with(
        store, "Ferns", [OFFLINE], [TextDelta(text=" grow."), END]
    )
    failed = conversation.messages[-1]
    assert (failed.text, failed.state) == ("", AnswerState.FAILED)
    await read(conversation.regenerate(failed.message_id, settings_for()))
    assert backend.requests[1].messages[-1].text == "Ferns"
    assert conversation.messages[-1].text == "Ferns grow."
    assert conversation.first_words == ""


async def test_an_answer_that_breaks_off_keeps_its_first_words_and_is_continued(store):
    rest = [TextDelta(text="ow."), END]
    conversation, backend = await begun_with(store, "Ferns", [TextDelta(text=" gr"), CUT], rest)
    broken = conversation.messages[-1]
    assert (broken.text, broken.state) == ("Ferns gr", AnswerState.INTERRUPTED)
    await read(conversation.resume(broken.message_id, settings_for()))
    assert backend.requests[1].messages[-1].text == "Ferns gr"
    assert conversation.messages[-1].text == "Ferns grow."


async def test_a_stop_before_the_first_token_leaves_the_first_words(store):
    backend = ScriptedBackend([asyncio.Event()])
    conversation = begin(backend, store)
    conversation.first_words = "Ferns"
    task = asyncio.create_task(read(conversation.send("What grows?", settings_for())))
    await backend.asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    last = conversation.messages[-1]
    assert (last.text, last.state) == ("", AnswerState.STOPPED)
    assert conversation.first_words == "Ferns"


async def test_a_stop_in_the_middle_keeps_the_words_in_the_answer(store):
    backend = ScriptedBackend([TextDelta(text=" gr"), asyncio.Event()])
    conversation = begin(backend, store)
    conversation.first_words = "Ferns"
    task = await reading(conversation.send("What grows?", settings_for()), TextDelta)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    last = (await on_disk(store, conversation))[-1]
    assert (last.text, last.state) == ("Ferns gr", AnswerState.STOPPED)
    assert conversation.first_words == ""


async def test_first_words_are_not_sent_to_a_server_that_cannot_continue_them(store):
    backend = ScriptedBackend()
    conversation = begin(backend, store)
    conversation.first_words = "Ferns"
    with pytest.raises(RequestInvalid, match="LM Studio cannot continue a text"):
        await read(conversation.send("What grows?", settings_for(Product.LM_STUDIO)))
    assert backend.requests == []
    assert conversation.messages == ()
    assert conversation.first_words == "Ferns"
