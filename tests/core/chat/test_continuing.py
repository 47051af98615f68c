"""Answers that continue a text: one that broke off, one by the user, and first words."""

from __future__ import annotations

import asyncio
from math import inf

import pytest
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid, ServerRejected, StreamInterrupted
from lmchat.core.chat.turn_starts import CONTINUE, Prefill
from lmchat.core.formats.exports.markdown import to_markdown
from lmchat.core.formats.exports.text import to_text
from lmchat.core.servers.events import (
    ReasoningDelta,
    RequestSent,
    Rethought,
    StreamFinished,
    TextDelta,
    TokensChosen,
)
from lmchat.core.sessions.message import AnswerState, Role, text_message
from lmchat.core.sessions.tokens import TokenProbabilities
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_backend import answer_steps

END = StreamFinished(reason="stop")
CUT = StreamInterrupted("The connection broke.")
REFUSED = ServerRejected(
    "Assistant response prefill is incompatible with enable_thinking.", kind="bad_request"
)
STARTED = [TextDelta(text="Several vegeta"), CUT]
REST = [TextDelta(text="bles."), END]
THOUGHT = "They like shade."


async def resumed(store, *scripts, **settings) -> ChatTurns:
    """Return a session whose first answer broke off and was continued."""
    chat = ChatTurns(store, *scripts, **settings)
    await chat.send("x")
    await chat.continue_answer(chat.path[-1])
    return chat


async def test_a_server_with_prefill_gets_the_answer_with_its_thought(store):
    chat = await resumed(store, [ReasoningDelta(text="They ask."), *STARTED], REST)
    last = chat.server.requests[1].messages[-1]
    assert (last.role, last.text, last.reasoning) == (Role.ASSISTANT, "Several vegeta", "They ask.")
    answer = (await chat.on_disk())[-1]
    assert (answer.text, answer.reasoning) == ("Several vegetables.", "They ask.")
    assert (answer.state, answer.version, answer.versions) == (AnswerState.COMPLETE, 2, 2)
    for product, role in (("llama.cpp", Role.ASSISTANT), ("Ollama", Role.USER)):
        chat = await resumed(store, [ReasoningDelta(text="They ask."), CUT], REST, product=product)
        assert chat.server.requests[1].messages[-1].role is role, "a thought alone"
    chat = await resumed(store, [CUT], REST)
    assert chat.sent() == ["x"], "nothing to continue"


async def test_a_late_thought_takes_nothing_of_what_it_continues(store):
    chosen = TokenProbabilities(token=THOUGHT, logprob=-1, text=THOUGHT)
    late = [TextDelta(text="bles?"), TokensChosen(choices=(chosen,)), Rethought(), END]
    chat = ChatTurns(store, STARTED, late)
    await chat.send("x")
    prefill = Prefill(message=chat.path[-1], choices=(chosen,))
    chat.sessions.continue_answer(chat.session, prefill.message, prefill)
    await chat.wait()
    answer = (await chat.on_disk())[-1]
    assert (answer.text, answer.reasoning) == ("Several vegeta", "bles?")
    tokens = await store.token_probabilities(answer.message_id)
    assert [one.is_thought for one in tokens] == [False, True]


async def test_a_refused_prefill_becomes_a_prompt_once_and_only_before_the_first_token(store):
    thought = [ReasoningDelta(text="Kale? " * 400), *STARTED]
    chat = await resumed(store, thought, [REFUSED], REST)
    target = chat.sessions.turn_options.target
    assert chat.sessions.context_window.estimator.room(target) == inf, "its size was not refused"
    assert chat.sent()[-2:] == ["Several vegeta", f"{CONTINUE}\n\nSeveral vegeta"]
    assert (await chat.on_disk())[-1].text == "Several vegetables."
    for scripts, text in (
        (([REFUSED], [REFUSED]), "Several vegeta"),
        (([TextDelta(text="bl"), REFUSED],), "Several vegetabl"),
    ):
        chat = await resumed(store, STARTED, *scripts)
        assert len(chat.server.requests) == 1 + len(scripts)
        answer = (await chat.on_disk())[-1]
        assert (answer.text, answer.state) == (text, AnswerState.INTERRUPTED)
        assert answer.failure.kind == "bad_request"
    too_long = ServerRejected("Too long.", kind="context_overflow", status=400)
    for refusals in (([too_long], [REFUSED]), ([REFUSED], [too_long])):
        chat = ChatTurns(store, answer_steps("a " * 200), STARTED, *refusals, REST, window=400)
        await chat.send("first")
        await chat.send("next")
        await chat.continue_answer(chat.path[-1])
        assert (await chat.on_disk())[-1].text == "Several vegetables."
    sent = [chat.sent(index) for index in (2, 3, 4)]
    assert [texts[-1] for texts in sent] == [
        "Several vegeta",
        *[f"{CONTINUE}\n\nSeveral vegeta"] * 2,
    ]
    assert [texts[0] for texts in sent] == ["first", "first", "next"]


async def test_a_seed_is_drawn_where_the_server_takes_one_unless_it_is_set(store):
    for product, options, is_drawn in (
        ("llama.cpp", {}, True),
        ("LM Studio", {}, True),
        ("Ollama", {}, True),
        ("Mistral", {}, True),
        ("Anthropic", {}, False),
        ("Gemini", {}, False),
        ("OpenAI-compatible", {}, False),
        ("LiteLLM", {}, False),  # a model behind it may refuse it
        ("llama.cpp", {"seed": 0}, False),
        ("llama.cpp", {"extra.seed": 5}, False),
    ):
        chat = ChatTurns(store, product=product)
        await chat.session.set_sampling(options)
        await chat.send("x")
        (request,) = chat.server.requests
        assert request.has_drawn_seed is is_drawn
        assert request.sampling.seed == options.get("seed") or is_drawn
        assert not is_drawn or 0 <= request.sampling.seed <= 4_294_967_294


# An answer by the user


async def answered(store, *scripts) -> ChatTurns:
    chat = ChatTurns(store, answer_steps("Lettuce does well.", thought=THOUGHT), *scripts)
    await chat.send("What grows in shade?")
    return chat


async def rewrite(chat: ChatTurns, text: str, index: int = -1):
    version = await chat.session.rewrite(chat.path[index].message_id, text)
    await chat.sessions.close()
    return version


async def test_a_rewritten_answer_is_another_version_that_no_server_sees_and_exports_mark(store):
    chat = await answered(store, answer_steps("Yes."))
    prompt, old = chat.path
    await chat.send("Sure?")
    version = await rewrite(chat, "Ferns do well.", 1)
    assert await chat.on_disk() == chat.path == (prompt, version)
    assert (version.text, version.reasoning) == ("Ferns do well.", "")
    assert (version.parent_id, version.model) == (prompt.message_id, old.model)
    assert (version.version, version.versions) == (2, 2)
    assert (version.state, version.stats.is_edited) == (AnswerState.COMPLETE, True)
    assert version.stats.completion_tokens is None
    assert len(chat.server.requests) == 2
    path = await store.open_session(chat.session.session_id)
    for text in (to_markdown(path), to_text(path)):
        assert "Ferns do well." in text
        assert "Lettuce" not in text
        assert f"{version.model} (edited)" in text
    back = await store.choose_path_through(path.header.session_id, old.message_id)
    assert [one.text for one in back.messages[1:]] == ["Lettuce does well.", "Sure?", "Yes."]
    assert (back.messages[1].reasoning, back.messages[1].stats.is_edited) == (THOUGHT, False)


async def test_a_changed_system_prompt_holds_behind_a_rewritten_answer(store):
    chat = await answered(store, answer_steps("Yes."))
    await chat.session.set_system_prompt("Be brief.")
    version = await rewrite(chat, "Ferns do well.", 1)
    assert await chat.on_disk() == chat.path
    assert (version, chat.texts[1:]) == (chat.path[1], ["Ferns do well.", "Be brief."])


async def test_no_answer_becomes_empty_or_changes_while_one_streams_and_no_prompt_is_rewritten(
    store,
):
    chat = await answered(store, [TextDelta(text="Two"), asyncio.Event()])
    before = chat.path
    for index, text, words in (
        (1, "", "cannot be empty"),
        (1, " \n", "cannot be empty"),
        (0, "x", "Only answers"),
    ):
        with pytest.raises(RequestInvalid, match=words):
            await rewrite(chat, text, index)
    assert chat.path == before == await chat.on_disk()
    await chat.start("And?", TextDelta)
    with pytest.raises(RequestInvalid, match="has not ended"):
        await rewrite(chat, "Ferns do well.", 1)
    await chat.stop()
    assert chat.path[:2] == before


@pytest.mark.rule("R-43")
async def test_words_of_the_user_are_continued_behind_their_last_letter(store):
    chat = await answered(store, [TextDelta(text=" well"), TextDelta(text="."), END])
    version = await rewrite(chat, "Ferns grow ve \n ")
    await chat.continue_answer(version)
    sent = chat.server.requests[1].messages[-1]
    assert (sent.role, sent.text, sent.reasoning) == (Role.ASSISTANT, "Ferns grow ve", "")
    continued = (await chat.on_disk())[-1]
    assert continued.text == "Ferns grow ve well."
    assert (continued.version, continued.stats.is_edited) == (3, True)
    assert not continued.stats.is_unfinished


async def test_words_of_the_user_that_a_server_cannot_continue_are_refused_and_nothing_is_lost(
    store,
):
    chat = await answered(store, [REFUSED])
    version = await rewrite(chat, "Ferns gr")
    chat.use("LM Studio")
    with pytest.raises(RequestInvalid, match="cannot continue a text") as caught:
        await chat.continue_answer(version)
    assert (caught.value.kind, caught.value.exit_code) == ("unsupported", 2)
    able = "Jan, llama.cpp, Ollama, vLLM, SGLang, llama-swap or the built-in engine"
    assert caught.value.next_step == f"Use a model of {able}."
    assert len(chat.server.requests) == 1
    assert (await chat.on_disk())[-1] == version == chat.path[-1]
    chat.use("llama.cpp")
    await chat.continue_answer(version)
    assert len(chat.server.requests) == 2
    assert (chat.path[-1].text, chat.path[-1].failure.kind) == ("Ferns gr", "bad_request")


async def test_an_answer_begins_with_the_first_words_and_only_the_next_one_does(store):
    rest = [TextDelta(text=" grow"), TextDelta(text="."), END]
    chat = ChatTurns(store, rest, answer_steps("Yes."), answer_steps("No."))
    chat.session.set_prefill("Ferns ", chat.sessions.turn_options.target)
    await chat.send("What grows in shade?")
    sent = chat.server.requests[0].messages[-1]
    assert (sent.role, sent.text) == (Role.ASSISTANT, "Ferns")
    first = (await chat.on_disk())[-1]
    assert (first.text, first.stats.is_edited) == ("Ferns grow.", False)
    await chat.regenerate(first)
    await chat.send("Sure?")
    assert chat.texts[1:] == ["Yes.", "Sure?", "No."]
    assert all(one.messages[-1].role is Role.USER for one in chat.server.requests[1:])


async def test_a_stop_before_the_first_token_loses_no_first_words(store):
    chat = ChatTurns(store, [RequestSent(), asyncio.Event()])
    chat.session.set_prefill("Ferns", chat.sessions.turn_options.target)
    await chat.start("What grows?", RequestSent)
    await chat.stop()
    last = (await chat.on_disk())[-1]
    assert (last.text, last.state) == ("Ferns", AnswerState.STOPPED)
    assert chat.session.prefill_text == ""


async def test_a_blank_between_two_words_is_added_and_none_within_one(store):
    """Where a server cannot continue a text, the rest is asked for, and models leave blanks out."""
    for started, rest, whole in (
        ("The cycle of", "The garden turns.", "The cycle of The garden turns."),
        ("One of two, three of", "four.", "One of two, three of four."),
        ("Several vegeta", "bles.", "Several vegetables."),
        ("A pear, a", "pple.", "A pear, a pple."),
        ("An apple and a", "pple pie.", "An apple and apple pie."),
        ("Sow peas", " and beans.", "Sow peas and beans."),
        ("See ", "the rest.", "See the rest."),
        ("```\nget", "Value()", "```\ngetValue()"),
        ("Rain, evaporation", "and snow.", "Rain, evaporation and snow."),
        ("Мы и ты, и", "вы.", "Мы и ты, и вы."),
        ("你好", "世界", "你好世界"),
        ("你好。你好", "世界", "你好。你好世界"),
        ("ไป ไป", "มา", "ไป ไปมา"),
        ("In 20 or in 20", "26.", "In 20 or in 2026."),
        ("It's the garden", "s.", "It's the gardens."),
        ("Use `the", "Value`.", "Use `theValue`."),
    ):
        # a model that thinks does so before it writes on
        thought = ReasoningDelta(text="They want the rest.")
        scripts = [TextDelta(text=started), CUT], [thought, TextDelta(text=rest), END]
        chat = ChatTurns(store, *scripts, product="OpenAI-compatible")
        await chat.send("x")
        await chat.continue_answer(chat.path[-1])
        assert (await chat.on_disk())[-1].text == whole


async def test_the_tokens_of_a_continued_answer_count_what_a_crash_has_left_of_it(store):
    """Its row has no count: the run that would have written one was killed."""
    asked = text_message(Role.USER, "x")
    left = replace(
        text_message(Role.ASSISTANT, "word " * 400, parent_id=asked.message_id),
        state=AnswerState.INTERRUPTED,
    )
    for script in ([TextDelta(text="The end."), CUT], [TextDelta(text="The end."), END]):
        chat = ChatTurns(store, script)
        await chat.open_import(asked, left)
        before = chat.sessions.context_window.context_use(chat.session)
        await chat.continue_answer(chat.path[-1])
        stats = chat.path[-1].stats
        assert stats.is_estimated
        assert stats.completion_tokens > 400
        use = chat.sessions.context_window.context_use(chat.session)
        assert use.tokens >= before.tokens > 400
