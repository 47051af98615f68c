from __future__ import annotations

import asyncio

import pytest

from lmchat.errors import LMChatError, RequestInvalid, StoreUnavailable, StreamInterrupted
from lmchat.servers.events import ReasoningDelta, RequestSent, StreamFinished, TextDelta
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.context_meter import ContextMeter
from lmchat.services.conversation_events import SummaryAsked
from tests.support.conversations import SETTINGS, begin, on_disk, reading
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read, target

PROMPT = "Sum up."
TALK = ("a", "A.", "b", "B.", "c", "C.")


def texts(messages) -> list[str]:
    return [message.text for message in messages]


async def talked(store, *scripts, system_prompt: str = "", prompts=("a", "b", "c")):
    """Return a conversation with an answer to each prompt, and its backend, which plays `scripts` next."""
    backend = ScriptedBackend(*(answer_steps(f"{one.upper()}.") for one in prompts), *scripts)
    conversation = begin(backend, store, system_prompt=system_prompt)
    for one in prompts:
        await read(conversation.send(one, SETTINGS))
    return conversation, backend


async def test_a_summary_takes_the_place_of_the_older_messages_on_a_new_branch(store):
    conversation, backend = await talked(
        store, answer_steps("They said a."), answer_steps("D."), system_prompt="Be brief."
    )
    old = conversation.messages
    events = await read(conversation.compact(PROMPT, SETTINGS))
    assert isinstance(events[0], SummaryAsked)
    assert texts(backend.requests[-1].messages) == ["Be brief.", "a", "A.", PROMPT]
    assert texts(conversation.messages) == ["Be brief.", PROMPT, "They said a.", *TALK[2:]]
    assert conversation.messages == await on_disk(store, conversation)
    assert conversation.messages[2].stats.completion_tokens == 3
    assert ContextMeter().use(target(), conversation.messages).is_estimated
    tree = await store.tree(conversation.header.session_id)
    assert {one.message_id for one in old} <= {one.message_id for one in tree}
    await read(conversation.send("d", SETTINGS))
    assert texts(backend.requests[-1].messages) == [
        "Be brief.",
        PROMPT,
        "They said a.",
        *TALK[2:],
        "d",
    ]


async def test_what_does_not_fit_is_left_out_of_the_summary_which_says_so(store):
    settings = TurnSettings(target=target(context_loaded=200), is_truncating=False)
    long = [TextDelta(text="a " * 2000), StreamFinished(reason="stop")]
    backend = ScriptedBackend(
        long, answer_steps("B."), answer_steps("C."), answer_steps("D."), answer_steps("Some.")
    )
    conversation = begin(backend, store)
    for text in "abcd":
        await read(conversation.send(text, SETTINGS))
    await read(conversation.compact(PROMPT, settings))
    assert texts(backend.requests[-1].messages) == ["b", "B.", PROMPT]
    note = "(The first 2 messages did not fit into the context window and are not summarised.)"
    assert conversation.messages[1].text == f"Some.\n\n{note}"


async def test_without_older_messages_or_without_room_to_gain_nothing_is_summarised(store):
    conversation, backend = await talked(store, prompts=("a", "b"))
    with pytest.raises(RequestInvalid, match="no older messages"):
        await read(conversation.compact(PROMPT, SETTINGS))
    await read(conversation.send("c", SETTINGS))
    await read(conversation.compact(PROMPT, SETTINGS))
    with pytest.raises(RequestInvalid, match="no older messages"):  # a summary alone
        await read(conversation.compact(PROMPT, SETTINGS))
    await read(conversation.send("d", SETTINGS))
    await read(conversation.compact(PROMPT, SETTINGS))
    said = "Lettuce does well."  # each time, as the script is over
    assert texts(conversation.messages) == [PROMPT, said, "c", said, "d", said]
    await read(conversation.send("word " * 2000, SETTINGS))
    with pytest.raises(RequestInvalid, match="would make no room"):
        await read(conversation.compact(PROMPT, SETTINGS))
    assert len(backend.requests) == 7


async def test_a_summary_that_fails_changes_nothing(store):
    broken = [TextDelta(text="Th"), StreamInterrupted("It broke off.")]
    thought = [ReasoningDelta(text="Hm."), StreamFinished(reason="stop")]
    conversation, _ = await talked(store, broken, thought)
    before, header = conversation.messages, conversation.header

    async def full(*_):
        raise StoreUnavailable("The disk is full.")

    append = store.append_branch
    for append_branch, words in (
        (append, "It broke off. Nothing has changed"),
        (append, "The model wrote no summary."),
        (full, "The disk is full."),
    ):
        store.append_branch = append_branch
        with pytest.raises(LMChatError) as failed:
            await read(conversation.compact(PROMPT, SETTINGS))
        assert failed.value.message_with_hint.startswith(words)
        assert (conversation.messages, conversation.header) == (before, header)
    assert len(await store.tree(header.session_id)) == len(TALK)


async def test_a_stopped_summary_changes_nothing_and_nothing_is_written_before_its_end(store):
    cut = [RequestSent(), TextDelta(text="Th"), asyncio.Event()]
    conversation, backend = await talked(store, cut, answer_steps("D."))
    before = conversation.messages
    task = await reading(conversation.compact(PROMPT, SETTINGS), TextDelta)
    conversation.rename("Garden")
    assert texts(conversation.shown_messages) == [*TALK, PROMPT, "Th"]
    assert texts(await on_disk(store, conversation)) == list(TALK)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert conversation.messages == before
    await read(conversation.send("d", SETTINGS))
    assert texts(await on_disk(store, conversation)) == [*TALK, "d", "D."]
    assert backend.stopped == 1
    assert conversation.header.title == "Garden"
