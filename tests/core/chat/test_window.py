"""Prompts that do not fit into the context window, or hardly."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid, ServerRejected
from lmchat.core.attachments.attachment import Attachment
from lmchat.core.chat.context import select_context
from lmchat.core.chat.preview import context_of_next_request
from lmchat.core.formats.exports.html import to_html
from lmchat.core.formats.exports.markdown import to_markdown
from lmchat.core.formats.exports.text import to_text
from lmchat.core.servers.events import (
    ReasoningDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState, FilePart, Role, text_message
from lmchat.core.sessions.prompts import Prompt, file_line
from tests.support.chat_turns import ChatTurns
from tests.support.counted_prompts import counted_prompts
from tests.support.scripted_backend import model
from tests.support.scripted_tools import calls, toolbox

WINDOW = 400
WORDS = "letters " * 50  # 100 tokens by our estimate
UNCOUNTED = [TextDelta(text="Yes."), StreamFinished(reason="stop")]


def counted(prompt_tokens: int):
    return [
        RequestSent(),
        TextDelta(text="Yes."),
        UsageReported(prompt_tokens=prompt_tokens, completion_tokens=2),
        StreamFinished(reason="stop"),
    ]


def too_long(room: int | None = None) -> ServerRejected:
    return ServerRejected("Too long.", kind="context_overflow", status=400, room_tokens=room)


@pytest.mark.rule("R-13")
async def test_a_window_that_a_refusal_has_named_holds_for_the_next_prompts(store):
    """A gateway lists no windows (LiteLLM 1.108)."""
    refusal = [RequestSent(), too_long(WINDOW)]
    chat = ChatTurns(store, UNCOUNTED, refusal, *[UNCOUNTED] * 9, product="LiteLLM", window=None)
    for _ in range(3):
        await chat.send(WORDS)
    assert len(chat.server.requests) == 4, "none is refused again"
    window = chat.sessions.context_window
    target = chat.sessions.turn_options.target
    assert window.context_use(chat.session).limit == WINDOW
    assert chat.path[-1].stats.context == WINDOW
    other = replace(target, model=replace(target.model, model_id="other"))
    assert window.estimator.window(other) is None


async def test_a_refusal_of_an_image_shortens_the_request_and_teaches_nothing_about_texts(store):
    refusal = [RequestSent(), too_long(WINDOW)]
    chat = ChatTurns(store, UNCOUNTED, UNCOUNTED, refusal, UNCOUNTED, window=WINDOW)
    await chat.send(WORDS)
    await chat.send("And now?")
    image = FilePart(name="a.png", media_type="image/png", digest="0" * 64, size=9, tokens=85)
    chat.sessions.send_now(chat.session, Prompt("What grows here?", (image,)))
    await chat.wait()
    assert len(chat.sent(2)) > len(chat.sent(3)) >= 2
    estimator = chat.sessions.context_window.estimator
    assert estimator.factor(chat.sessions.turn_options.target) == 1


async def test_a_first_prompt_that_is_refused_leaves_no_session_and_no_title(store):
    chat = ChatTurns(store, window=100, system_prompt="Be kind.", auto_truncate=False)
    with pytest.raises(RequestInvalid, match="tokens") as refused:
        await chat.send("word " * 400 + "\n")
    assert refused.value.kind == "context_overflow"
    assert chat.path == ()
    assert await store.list_sessions() == ()
    assert chat.session.header.title == ""


async def test_an_answer_after_calls_fails_if_their_results_do_not_fit(store):
    read = calls(("files__read_text", {"path": "a " * 2000}))
    chat = ChatTurns(store, read, box=toolbox(), window=WINDOW, auto_truncate=False)
    await chat.send("Read")
    assert [message.role for message in chat.path][-2:] == [Role.TOOL, Role.ASSISTANT]
    assert chat.path[-1].failure.kind == "context_overflow"
    assert len(chat.server.requests) == 1


@pytest.mark.parametrize(
    ("product", "step"),
    [
        (
            "Ollama",
            "may refuse the prompt or drop a part of it. For a larger window: OLLAMA_CONTEXT_LENGTH=2048 ollama serve.",
        ),
        (
            "LM Studio",
            "may refuse the prompt or drop a part of it. Load it with: lmchat models load qwen3-",
        ),
        (
            "OpenAI-compatible",
            "localhost:1234 may refuse the prompt or drop a part of it. Shorten it, or use a larger",
        ),
    ],
)
async def test_a_prompt_beyond_the_window_is_reported_before_it_is_sent_and_a_cut_one_afterwards(
    store, product, step
):
    chat = ChatTurns(store, counted(399), counted(4096), product=product, window=WINDOW)
    await chat.send("letters " * 300)
    (note,) = chat.notes
    assert note.startswith("The prompt has about 604 tokens, the context window 400: ")
    assert step in note
    chat = ChatTurns(store, counted(4096), product=product, window=None, box=toolbox())
    await chat.send("letters " * 6000)
    (late,) = chat.notes
    assert ", of which 4096 were read: " in late


async def test_an_answer_to_a_prompt_that_was_cut_says_so_for_good(store):
    """Ollama answers to what it has kept of a prompt, and says nothing."""
    chat = ChatTurns(store, counted(258), product="Ollama", window=512)
    await chat.send("letters " * 3000)
    answer = (await chat.on_disk())[-1]
    assert (answer.state, answer.stats.is_prompt_cut) == (AnswerState.COMPLETE, True)
    for write in (to_markdown, to_text, to_html):
        exported = write(await store.open_session(chat.session.session_id))
        assert "The server has left out a part of the prompt." in exported

    # what the server has counted is not all of the session
    assert chat.sessions.context_window.context_use(chat.session).tokens > 6000

    end = [UsageReported(prompt_tokens=258, completion_tokens=0), StreamFinished(reason="stop")]
    thought = [ReasoningDelta(text="Hm."), *end]
    for empty, state in ((end, AnswerState.FAILED), (thought, AnswerState.INTERRUPTED)):
        chat = ChatTurns(store, empty, product="Ollama", window=512)
        await chat.send("letters " * 3000)
        answer = chat.path[-1]
        assert (answer.state, answer.failure.kind) == (state, "context_overflow")
        assert "it has about 6004 tokens, and 258 were read" in answer.failure.message


async def test_an_answer_that_is_continued_with_its_whole_prompt_keeps_the_mark_of_its_beginning(
    store,
):
    cut_short = [*counted(258)[:-1], StreamFinished(reason="length")]
    chat = ChatTurns(store, cut_short, counted(6010), product="Ollama", window=512)
    await chat.send("letters " * 3000)
    await chat.continue_answer(chat.path[-1])
    assert (await chat.on_disk())[-1].stats.is_prompt_cut


async def test_an_empty_answer_to_a_prompt_that_was_cut_is_asked_for_with_fewer_messages(store):
    empty = [UsageReported(prompt_tokens=300, completion_tokens=0), StreamFinished(reason="stop")]
    chat = ChatTurns(store, counted(260), empty, counted(200), product="Ollama", window=None)
    await chat.send("letters " * 500)
    await chat.send("And now?")
    assert len(chat.server.requests) == 3
    first, second = (request.messages for request in chat.server.requests[1:])
    assert len(second) < len(first)
    assert chat.path[-1].state is AnswerState.COMPLETE


async def test_a_full_prompt_that_leaves_the_few_tokens_of_its_answer_was_not_cut(store):
    chat = ChatTurns(store, counted(395), window=WINDOW, max_tokens=4)
    await chat.send("letters " * 190)
    assert chat.notes == []


async def test_the_meter_and_the_list_of_context_count_the_tools_alike(store):
    chat = ChatTurns(store, UNCOUNTED, box=toolbox())
    window = chat.sessions.context_window
    await chat.send(WORDS)
    listed = await context_of_next_request(chat.sessions, chat.session, Prompt(""))
    (tools,) = [item.tokens for item in listed.items if item.author == "tools"]
    with_tools = window.context_use(chat.session)
    box = chat.sessions.turn_options.toolbox
    box.toggle(chat.session.session_id, box.tools[0].server)
    assert with_tools.tokens - window.context_use(chat.session).tokens == tools > 0


async def test_the_step_to_a_larger_window_follows_what_has_set_it(store):
    smol = replace(model("smol:latest", context_loaded=400, has_own_window=True), product="Ollama")
    chat = ChatTurns(store, counted(399), target=Target.of(smol))
    await chat.send("letters " * 300)
    (note,) = chat.notes
    step = "PARAMETER num_ctx 2048 in its Modelfile, then ollama create smol:latest -f Mod"
    assert step in note


async def test_left_out_messages_are_noted_at_first_and_when_they_have_doubled(store):
    chat = ChatTurns(store, *[UNCOUNTED] * 12, product="LM Studio", window=WINDOW)
    for _ in range(7):
        await chat.send(WORDS)
    full = "The context window is full:"
    assert [note.removeprefix(full) for note in chat.notes] == [
        " 2 oldest messages left out.",
        " 6 oldest messages left out.",
    ]


def test_what_is_typed_adds_an_estimate_that_learns_from_the_server(store):
    sessions = ChatTurns(store).sessions
    window = sessions.context_window
    target = sessions.turn_options.target
    assert window.draft_tokens("word " * 40) == 40
    prompt = text_message(Role.USER, "word " * 200)
    window.estimator.learn(target, select_context([prompt], limit=None), 404)
    assert window.draft_tokens("word " * 40) == 80
    text_file = FilePart(name="a.txt", media_type="text/plain", digest="0" * 64, size=9, tokens=50)
    image = FilePart(name="a.png", media_type="image/png", digest="1" * 64, size=9, tokens=85)
    assert window.draft_tokens(file_line(text_file) + file_line(image)) == 100 + 85


async def test_a_stop_does_not_change_the_estimate_of_the_used_window(store):
    chat = ChatTurns(store, [RequestSent(), TextDelta(text="Let"), asyncio.Event()])
    await chat.start("Hello", TextDelta)
    window = chat.sessions.context_window
    running = window.context_use(chat.session)
    turn = chat.session.turn
    await chat.stop()
    assert window.context_use(chat.session) == running
    assert turn.answer.stats.estimated_prompt_tokens > 0, "scripts get it, as nothing was counted"


async def test_a_whole_prompt_is_not_called_cut_whatever_it_holds_and_whoever_counts_it(store):
    for counts in counted_prompts():
        chat = ChatTurns(store, counted(min(counts.tokens.values())), product="Ollama", window=None)
        await chat.send(counts.text)
        assert chat.notes == [], counts.kind
        assert not chat.path[-1].stats.is_prompt_cut


async def test_a_prompt_is_called_cut_by_the_words_of_its_files_but_not_by_the_bytes_of_an_image(
    store,
):
    data = b"letters " * 3000
    digest = await store.files.save(data)
    for name, media_type, is_cut in (
        ("a.md", "text/markdown", True),
        ("a.png", "image/png", False),
    ):
        part = FilePart(name=name, media_type=media_type, digest=digest, size=len(data), tokens=85)
        chat = ChatTurns(store, counted(258), product="Ollama", window=None)
        await chat.send("Look.", [Attachment(part=part, data=data)])
        assert chat.path[-1].stats.is_prompt_cut is is_cut, name
