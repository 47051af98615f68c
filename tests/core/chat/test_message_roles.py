"""Roles of the messages of a request: prompts and answers take turns, whatever has happened."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid
from lmchat.core.chat.preview import context_of_next_request
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.toolbox import ToolQuestion
from lmchat.core.chat.turn_starts import continued, regenerated
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import RequestSent
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    NO_RESULT,
    AnswerState,
    ChatMessage,
    FilePart,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    has_text_to_continue,
    text_message,
)
from lmchat.core.sessions.prompts import Prompt
from lmchat.core.sessions.session import MessagePath, Session
from tests.support import chats
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import (
    DONE,
    Reply,
    ScriptedServer,
    Seen,
    delta,
    error_reply,
    finish,
    sse,
)
from tests.support.scripted_tools import toolbox
from tests.support.strict_templates import strict, wrong_order

PIXEL = b"\x89PNG\r\n\x1a\n"


def target_at(url: str, **more: Any) -> Target:
    endpoint = Endpoint.parse(url)
    known = {"context_loaded": 8192, "tools": True, "images": True} | more
    info = ModelInfo(model_id="tiny", endpoint=endpoint, product="OpenAI-compatible", **known)
    return Target(endpoint=endpoint, product="OpenAI-compatible", model=info)


def image_part(digest: str = hashlib.sha256(PIXEL).hexdigest()) -> FilePart:
    return FilePart(name="a.png", media_type="image/png", digest=digest, size=len(PIXEL), tokens=9)


def last_text(seen: Seen) -> str:
    return seen.json["messages"][-1]["content"]


def sent_messages(server: ScriptedServer, index: int = -1) -> list[dict[str, Any]]:
    return server.seen(CHAT)[index].json["messages"]


def sent(server: ScriptedServer, index: int = -1) -> list[tuple[str, str]]:
    return [(one["role"], one["content"]) for one in sent_messages(server, index)]


# Stories


async def test_a_session_goes_on_after_prompts_that_failed_or_were_stopped(client, store):
    def play(seen: Seen) -> Reply:
        if last_text(seen).endswith("break"):
            return error_reply(500, "Compute error.")
        return chat_reply("Fine.")

    with ScriptedServer() as server:
        server.on(CHAT, strict(play=play))
        chat = ChatTurns(store, server=client, target=target_at(server.url))
        await chat.send("one")
        await chat.send("break")
        await chat.start("stop", RequestSent)
        await chat.stop()
        await chat.send("two")
        started = [("user", "one"), ("assistant", "Fine."), ("user", "break\n\nstop\n\ntwo")]
        assert sent(server) == started
        await chat.send("three")
        # the same bytes again, so that the server finds them in its cache
        assert sent(server) == [*started, ("assistant", "Fine."), ("user", "three")]
        assert chat.path[-1].state is AnswerState.COMPLETE


async def test_the_model_gets_told_of_a_declined_call_and_takes_the_next_prompts(client, store):
    function = {"name": "files__read_text", "arguments": '{"path": "a"}'}
    asked_call = {"index": 0, "id": "c0", "type": "function", "function": function}
    asks = sse(delta(tool_calls=[asked_call]), finish("tool_calls"), DONE)
    with ScriptedServer() as server:
        server.on(CHAT, asks, strict())
        target = target_at(server.url)
        chat = ChatTurns(store, server=client, target=target, box=toolbox(approve="ask"))
        await chat.start("Read a.", ToolQuestion)
        await chat.stop()
        await chat.send("Then not.")
        _, call, result, bridge, prompt = sent_messages(server)
        sent_call = {"id": "c0", "type": "function", "function": function}
        assert call == {"role": "assistant", "content": "", "tool_calls": [sent_call]}
        assert (result["role"], result["content"]) == ("tool", NO_RESULT)
        assert "not run" in NO_RESULT
        assert bridge == {"role": "assistant", "content": "(no answer)"}
        assert prompt == {"role": "user", "content": "Then not."}
        before = sent_messages(server)
        await chat.send("And now?")
        assert sent_messages(server)[: len(before)] == before
        assert chat.path[-1].state is AnswerState.COMPLETE
        listed = await context_of_next_request(chat.sessions, chat.session, Prompt("What is left?"))
        assert [one.state for one in listed.items] == [""] * len(listed.items)

        chat.sessions.turn_options.toolbox = None  # without tools, the same as text
        await chat.send("Without tools?")
        told = f'Result of files/read_text("a"):\n{NO_RESULT}'
        assert sent(server)[:2] == [("user", "Read a."), ("assistant", told)]


async def test_a_call_without_a_name_is_sent_by_no_later_request(client, store):
    """As LM Studio sends it (lmstudio-bug-tracker #830), saved by an earlier version."""
    nameless = ToolCallPart(call_id="", name="", arguments="")
    asked = chats.prompt("Weigh it.")
    asking = chats.answer(nameless, parent=asked)
    ran = chats.tool_message("There is no tool of this name.", parent=asking)
    ran = replace(ran, parts=(nameless, *ran.parts[1:]), state=AnswerState.FAILED)
    with ScriptedServer() as server:
        server.on(CHAT, strict())
        for box in (toolbox(), None):
            chat = ChatTurns(store, server=client, target=target_at(server.url), box=box)
            await chat.open_import(asked, asking, ran)
            await chat.send("And?")
            assert sent(server) == [("user", "Weigh it.\n\nAnd?")]


async def test_an_answer_before_the_first_prompt_is_not_sent_and_cannot_be_regenerated(store):
    chat = ChatTurns(store)
    greeting = replace(text_message(Role.ASSISTANT, "How can I"), state=AnswerState.STOPPED)
    await chat.open_import(greeting)
    for act in (chat.regenerate, chat.continue_answer):
        with pytest.raises(RequestInvalid, match="No prompt"):
            await act(greeting)
    await chat.send("Hello")
    assert chat.sent() == ["Hello"]
    listed = await context_of_next_request(chat.sessions, chat.session, Prompt("More"))
    assert listed.items[0].state == "not sent"
    assert chat.notes == [], "it is not left out because of the window"


async def test_images_of_neighbouring_prompts_stay_beside_their_words(client, store):
    await store.files.save(PIXEL)
    image = image_part()
    with ScriptedServer() as server:
        server.on(CHAT, error_reply(500, "Compute error."))
        chat = ChatTurns(store, server=client, target=target_at(server.url))
        for text, files in (("a", [image]), ("b", []), ("", [image]), ("d", [])):
            chat.sessions.send_now(chat.session, Prompt(text, tuple(files)))
            await chat.wait()
        (message,) = sent_messages(server)
        parts = [one.get("text", one["type"]) for one in message["content"]]
        assert parts == ["image_url", "a\n\nb", "image_url", "d"]


# Any history

TYPED = {"send": "Why?", "look": ""}  # what is typed when a prompt is sent, or /request looks at it
TEXTS = st.sampled_from(["", " ", "\n", "word", "two words", "long " * 120])
CALLS = st.builds(
    ToolCallPart,
    call_id=st.sampled_from(["c0", "c1", ""]),
    name=st.sampled_from(["files__read_text", "files__read_text", ""]),
    arguments=st.sampled_from(["{}", '{"path": "a"}', "{bro"]),
)
_STATES = (AnswerState.COMPLETE, AnswerState.STOPPED, AnswerState.FAILED, AnswerState.INTERRUPTED)


def _message(role: Role, *parts: Any, is_excluded: bool, state: AnswerState) -> ChatMessage:
    known = replace(text_message(role, ""), model="tiny", endpoint="http://localhost:1234")
    return replace(known, parts=parts, is_excluded=is_excluded, state=state)


@st.composite
def messages(draw) -> ChatMessage:
    """Any message, also one that lmchat itself would not have saved behind the others."""
    role = draw(st.sampled_from((Role.USER, Role.ASSISTANT, Role.ASSISTANT, Role.TOOL)))
    role = draw(st.sampled_from((role, role, role, role, role, Role.SYSTEM)))
    parts: list[Any] = []
    if role is Role.TOOL:
        parts.append(draw(CALLS))
        parts += [ToolResultPart(text=one) for one in draw(st.lists(TEXTS, max_size=1))]
    else:
        if role is Role.ASSISTANT:
            parts += [ReasoningPart(text=one) for one in draw(st.lists(TEXTS, max_size=1))]
        parts += [TextPart(text=one) for one in draw(st.lists(TEXTS, max_size=1))]
        if role is Role.ASSISTANT:
            parts += draw(st.lists(CALLS, max_size=3))
        parts += draw(st.lists(st.sampled_from((image_part(), image_part("0" * 64))), max_size=1))
    if role is Role.USER and not any(isinstance(one, FilePart) or one.text for one in parts):
        parts.append(TextPart(text="word"))
    is_excluded = draw(st.sampled_from((False, False, False, True)))
    return _message(role, *parts, is_excluded=is_excluded, state=draw(st.sampled_from(_STATES)))


def words_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(one["text"] for one in content if one["type"] == "text")


async def body_of_turn(chat: ChatTurns, session: OpenSession, kind: str) -> list[dict[str, Any]]:
    """Return the messages of the next request of a session, as its server would get them."""
    path = session.messages
    turn_settings = chat.sessions.turn_options.settings({})
    if kind in TYPED:
        request = await chat.sessions.next_request(session, Prompt(TYPED[kind]))
    else:
        last_id = path[-1].message_id
        start = (
            continued(path, last_id, None)
            if kind == "continue"
            else regenerated(path, last_id, prefill_text=session.prefill_text)
        )
        request = await chat.sessions.request_of(session, start, turn_settings)
    return json.loads((await chat.server.prepare(request)).body)["messages"]


@pytest.mark.slow  # histories at random
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    path=st.lists(messages(), max_size=12),
    window=st.sampled_from([None, 150, 600, 8192]),
    has_tools=st.booleans(),
    product=st.sampled_from(["llama.cpp", "OpenAI-compatible"]),
    prefill=st.sampled_from(["", "Because"]),
    kind=st.sampled_from(["send", "send", "look", "continue", "regenerate"]),
)
async def test_of_any_history_prompts_and_answers_take_turns_and_results_have_their_calls(
    client, store, path, window, has_tools, product, prefill, kind
):
    await store.files.save(PIXEL)
    chat = ChatTurns(store, server=client, box=toolbox() if has_tools else None)
    chat.use(product, window=window)
    stored = Session(header=chats.header("Any"), messages=MessagePath(path))
    session = chat.sessions.open_sessions.switch_to_path(stored)
    if prefill:
        session.set_prefill(prefill, None)
    role = path[-1].role if path else Role.SYSTEM
    is_started = role is Role.ASSISTANT and has_text_to_continue(path[-1])
    can_repeat = is_started if kind == "continue" else role in (Role.USER, Role.ASSISTANT)
    if kind not in TYPED and not can_repeat:
        kind = "send"
    try:
        sent = await body_of_turn(chat, session, kind)
    except RequestInvalid:  # what cannot be continued, and first words that cannot be sent
        assert kind not in TYPED or prefill
        return
    started = sent[-1] if sent[-1]["role"] == "assistant" else {}
    is_thought = bool(started) and not started["content"]
    assert not is_thought or started["reasoning_content"], "a thought is continued"
    assert wrong_order(sent[:-1] if is_thought else sent) == "", sent
    assert [one["role"] for one in sent].count("system") <= 1
    if kind in TYPED:
        assert words_of(sent[-1]["content"]).endswith(prefill or TYPED[kind])
        assert sent[-1]["role"] == ("assistant" if prefill else "user")
    # no text is lost, but of what does not fit, and none is sent twice
    first = next(
        (n for n, one in enumerate(path) if one.role is Role.USER and not one.is_excluded),
        len(path),
    )
    spoken = [one for one in path[first:] if one.role in (Role.USER, Role.ASSISTANT)]
    said = Counter(" ".join(one.text for one in spoken if not one.is_excluded).split())
    dialogue = [one for one in sent if one["role"] != "system"]
    received = Counter(" ".join(words_of(one["content"]) for one in dialogue).split())
    results = Counter(" ".join(one.tool_result for one in path).split())
    if kind == "send" or product == "llama.cpp":  # else the end of the answer is quoted
        words = ("two", "words", "long")
        assert all(received[word] <= said[word] + results[word] for word in words)
    if window is None and kind != "regenerate":
        assert said <= received
