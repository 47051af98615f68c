"""Summaries that take the place of older messages."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from lmchat.base.errors import LMChatError, RequestInvalid, StoreUnavailable, StreamInterrupted
from lmchat.core.chat.context import TokenEstimator
from lmchat.core.config.settings import COMPACT_PROMPT
from lmchat.core.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
)
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_backend import ScriptedBackend, answer_steps, set_options, target
from tests.support.scripted_tools import calls, toolbox

TALK = ["a", "A.", "b", "B.", "c", "C."]
END = StreamFinished(reason="stop")


async def talked(store, *scripts, **settings) -> ChatTurns:
    """Return a session with three answered prompts, whose server plays `scripts` next."""
    chat = ChatTurns(
        store, *(answer_steps(one) for one in ("A.", "B.", "C.")), *scripts, **settings
    )
    for one in "abc":
        await chat.send(one)
    return chat


async def test_a_summary_takes_the_place_of_the_older_messages_on_a_new_branch(store):
    chat = await talked(
        store, answer_steps("They said a."), answer_steps("D."), system_prompt="Be brief."
    )
    old = chat.path
    window = chat.sessions.context_window
    drafts = ("d", "word " * 9000)
    assert [window.can_compact(chat.session, one, left_out=0) for one in drafts] == [False, True]
    await chat.compact()
    assert chat.sent() == ["Be brief.", "a", "A.", COMPACT_PROMPT]
    compacted = ["Be brief.", COMPACT_PROMPT, "They said a.", *TALK[2:]]
    assert chat.texts == compacted
    assert chat.path == await chat.on_disk()
    assert chat.path[2].stats.completion_tokens == 3
    assert TokenEstimator(ScriptedBackend().memory).use(target(), chat.path).is_estimated
    tree = await store.tree(chat.session.session_id)
    assert {one.message_id for one in old} <= {one.message_id for one in tree}
    await chat.send("d")
    assert chat.sent() == [*compacted, "d"]


async def test_a_summary_keeps_calls_with_their_results_and_the_last_system_prompt(store):
    read = calls(("files__read_text", {"path": "a"}))
    chat = ChatTurns(
        store, answer_steps("A."), read, answer_steps("B."), answer_steps("C."), box=toolbox()
    )
    await chat.send("a " * 400)
    await chat.session.set_system_prompt("Be kind.")
    await chat.session.set_system_prompt("Be rude.")
    await chat.session.toggle_excluded(chat.path[-1].message_id)
    await chat.send("b")
    await chat.send("c")
    kept = [(one.role, one.text, one.tool_result) for one in chat.path[4:]]
    await chat.compact()
    copied = [(one.role, one.text, one.tool_result) for one in chat.path]
    assert copied[0][1] == "Be kind."
    assert copied[-len(kept) :] == kept
    assert chat.path == await chat.on_disk()


async def test_what_does_not_fit_is_left_out_of_the_summary_and_a_note_says_so(store):
    long = [TextDelta(text="a " * 2000), END]
    chat = ChatTurns(store, long, *(answer_steps(one) for one in ("B.", "C.", "D.", "Some.")))
    for text in "abcd":
        await chat.send(text)
    chat.use("LM Studio", window=200)
    await chat.compact()
    assert chat.sent() == ["b", "B.", COMPACT_PROMPT]
    assert chat.path[1].text == "Some."
    assert "The context window is full: 2 oldest messages left out." in chat.notes


async def test_without_older_messages_or_without_room_to_gain_nothing_is_summarised(store):
    chat = ChatTurns(store)
    await chat.send("a")
    await chat.send("b")
    with pytest.raises(RequestInvalid, match="no older messages"):
        await chat.compact()
    await chat.send("c")
    await chat.compact()
    with pytest.raises(RequestInvalid, match="no older messages"):  # a summary alone
        await chat.compact()
    await chat.send("d")
    await chat.compact()
    said = "Lettuce does well."
    assert chat.texts == [COMPACT_PROMPT, said, "c", said, "d", said]
    await chat.send("word " * 2000)
    with pytest.raises(RequestInvalid, match="would make no room"):
        await chat.compact()
    assert len(chat.server.requests) == 7


async def test_a_summary_that_fails_or_is_a_part_takes_no_message_away(store):
    ends = ("length", "content_filter", "abort", "tool_calls")
    scripts = {
        "It broke off.": [
            TextDelta(text="Th"),
            StreamInterrupted("It broke off."),
        ],
        **{end: [TextDelta(text="They said"), StreamFinished(reason=end)] for end in ends},
        "refused": [RefusalDelta(text="I cannot do that."), END],
        "The model wrote no summary.": [ReasoningDelta(text="Hm."), END],
        "no summary": [TextDelta(text=" \n"), END],
        "The disk is full.": answer_steps("They spoke."),
    }
    chat = await talked(store, *scripts.values())
    before = chat.path
    header = chat.session.header
    append = store.append_branch
    for words in scripts:
        if words == "The disk is full.":
            store.append_branch = AsyncMock(side_effect=StoreUnavailable(words))
        with pytest.raises(LMChatError) as failed:
            await chat.compact()
        assert words in failed.value.message
        if store.append_branch == append:
            assert failed.value.next_step.startswith("Nothing has changed")
        assert (chat.path, chat.session.header) == (before, header)
        assert await chat.on_disk() == before
    assert len(await store.tree(header.session_id)) == len(TALK)
    store.append_branch = append
    await chat.send("d")
    assert chat.sent() == [*TALK, "d"]
    # servers without finish reasons, and older ones of text-generation-inference
    for end in ("", "eos_token", "end_turn", "STOP"):
        whole = [TextDelta(text="They spoke."), StreamFinished(reason=end)]
        chat = await talked(store, whole)
        await chat.compact()
        assert chat.texts[1] == "They spoke."


async def test_a_summary_has_none_of_the_options_that_limit_the_answers_of_the_session(store):
    chat = await talked(store, max_tokens=9, temperature=0.1)
    limits = {"stop": ("A",), "grammar": "root ::= [A]", "t_max_predict_ms": 5, "top_k": 3}
    await chat.session.set_sampling(limits)
    await chat.compact()
    assert set_options(chat.server.requests[-1]) == {"temperature": 0.1, "top_k": 3}
    await chat.send("d")
    assert set_options(chat.server.requests[-1]).keys() > limits.keys() | {"max_tokens"}


async def test_a_stopped_summary_changes_nothing_but_what_the_user_changed_meanwhile(store):
    chat = await talked(
        store, [RequestSent(), TextDelta(text="Th"), asyncio.Event()], answer_steps("D.")
    )
    before = chat.path
    chat.events.clear()
    chat.sessions.compact(chat.session)
    await chat.until(TextDelta)
    chat.session.update_header(replace(chat.session.header, title="Garden", tags=("beds",)))
    await chat.session.set_sampling({"temperature": 0.5})
    shown = [message.text for message in chat.session.messages_so_far]
    assert shown == [*TALK, COMPACT_PROMPT, "Th"]
    assert [one.text for one in await chat.on_disk()] == TALK
    with pytest.raises(RequestInvalid, match="has not ended"):
        chat.session.require_free_end()
    await chat.stop()
    assert chat.path == before
    await chat.send("d")
    assert [one.text for one in await chat.on_disk()] == [*TALK, "d", "D."]
    assert chat.server.stopped == 1
    header = chat.session.header
    assert (header.title, header.tags) == ("Garden", ("beds",))
    assert header.sampling == {"temperature": 0.5}
