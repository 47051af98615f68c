from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.config.settings import ChatSettings
from lmchat.errors import RequestInvalid, ServerRejected, ServerUnavailable
from lmchat.servers.events import (
    RequestAdapted,
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.context_meter import ContextMeter, PromptSize
from lmchat.services.open_sessions import OpenSessions
from lmchat.sessions.message import AnswerState, Role, SentThoughts, text_message
from tests.support.scripted_backend import ScriptedBackend, read, target

WINDOW = 400
DIGITS = "1234567 " * 50  # 100 tokens by our estimate, many more by most tokenizers
SETTINGS = TurnSettings(target=target(context_loaded=WINDOW))


UNCOUNTED = [TextDelta(text="Yes."), StreamFinished(reason="stop")]


def sit_down(backend, store) -> OpenSessions:
    return OpenSessions(chat=ChatSettings(), backend=backend, store=store)


def counted(prompt_tokens: int):
    return [
        RequestSent(),
        TextDelta(text="Yes."),
        UsageReported(prompt_tokens=prompt_tokens, completion_tokens=2),
        StreamFinished(reason="stop"),
    ]


def too_long(needed: int | None = None, room: int | None = None) -> ServerRejected:
    error = ServerRejected("The prompt is too long.", kind="context_overflow", status=400)
    error.needed_tokens, error.room_tokens = needed, room
    return error


async def say(sessions: OpenSessions, *texts: str, settings: TurnSettings = SETTINGS) -> None:
    for text in texts:
        await read(sessions.shown.conversation.send(text, settings))


async def notes(sessions: OpenSessions, text: str, settings: TurnSettings) -> list[str]:
    events = await read(sessions.shown.conversation.send(text, settings))
    return [event.note for event in events if isinstance(event, RequestAdapted)]


def sent(backend) -> list[list[str]]:
    return [[message.text for message in request.messages] for request in backend.requests]


@pytest.mark.parametrize("refused", [(450, WINDOW), (450, None), (None, WINDOW), (None, None)])
async def test_a_prompt_that_is_too_long_goes_out_once_more_with_less(store, refused):
    backend = ScriptedBackend(UNCOUNTED, UNCOUNTED, [RequestSent(), too_long(*refused)], UNCOUNTED)
    sessions = sit_down(backend, store)
    await say(sessions, DIGITS, "And now?", DIGITS)
    assert len(sent(backend)[2]) > len(sent(backend)[3]) >= 2
    assert sent(backend)[3] == sent(backend)[2][-len(sent(backend)[3]) :]
    asked_with = sessions.shown.conversation.sent
    assert [message.text for message in asked_with.messages] == sent(backend)[3]
    answered = sessions.shown.conversation.messages[-1]
    assert (answered.text, answered.state, answered.failure) == ("Yes.", AnswerState.COMPLETE, None)
    assert len([m for m in sessions.shown.conversation.messages if m.role is Role.USER]) == 3


async def test_nothing_is_left_out_where_the_user_does_not_want_it(store):
    settings = TurnSettings(target=SETTINGS.target, is_truncating=False)
    backend = ScriptedBackend(UNCOUNTED, UNCOUNTED, [too_long(450, WINDOW)])
    sessions = sit_down(backend, store)
    await say(sessions, DIGITS, "And now?", DIGITS, settings=settings)
    assert len(backend.requests) == 3
    with pytest.raises(RequestInvalid):  # what was learnt holds
        await say(sessions, "Then?", settings=settings)


@pytest.mark.parametrize(
    ("product", "step"),
    [
        (
            "Ollama",
            "Ollama drops its beginning. Set it when you start Ollama: OLLAMA_CONTEXT_LENGTH=2048 ",
        ),
        (
            "LM Studio",
            "may refuse the prompt or drop a part of it. Load it with: lmchat models load qwen3-",
        ),
        ("OpenAI-compatible", "Shorten it, or use a larger context window."),
    ],
)
async def test_a_prompt_beyond_the_window_is_reported_before_it_is_sent_and_a_cut_one_afterwards(
    store, product, step
):
    sessions = sit_down(ScriptedBackend(counted(399), counted(400), counted(4000)), store)
    settings = replace(SETTINGS, target=replace(SETTINGS.target, product=product))
    told = await notes(sessions, "1234567 " * 300, settings)
    assert told[0].startswith("The prompt has about 604 tokens, the context window 400: ")
    assert step in told[0]
    assert len(told) == 1
    sessions = sit_down(ScriptedBackend(counted(4096)), store)
    settings = replace(settings, target=target(context_loaded=None, context_max=131_072))
    (late,) = await notes(sessions, "1234567 " * 6000, settings)
    assert late.startswith("The prompt has about 12004 tokens, the context window 4096: ")


async def test_a_request_near_the_window_is_counted_before_it_goes_out(store):
    # the estimate is 3 x 104 and a little, beside 100 or 110 that are kept free
    whole = [DIGITS, "Yes.", DIGITS, "Yes.", DIGITS]
    for window, count, expected in (
        (440, 700, ["Yes.", DIGITS]),  # it only seems to fit
        (WINDOW, 120, whole),  # it only seems too long
        (440, None, whole),
        (440, ServerUnavailable("It is away."), whole),
    ):
        backend = ScriptedBackend(*[UNCOUNTED] * 3)
        sessions = sit_down(backend, store)
        settings = TurnSettings(target=target(context_loaded=window))
        await say(sessions, DIGITS, settings=settings)
        assert backend.counts == []  # far from the window
        await say(sessions, DIGITS, settings=settings)
        backend.tokens = count
        backend.counts.clear()
        await say(sessions, DIGITS, settings=settings)
        assert len(backend.counts) == 1
        assert sent(backend)[-1] == expected
        assert sessions.shown.conversation.messages[-1].text == "Yes."


def test_what_is_typed_adds_an_estimate_that_learns_from_the_server():
    meter, model = ContextMeter(), target()
    assert meter.draft_tokens(model, "word " * 40) == 50
    prompt = text_message(Role.USER, "word " * 40)
    meter.learn(model, PromptSize.of([prompt], SentThoughts.NONE), 104)
    assert meter.draft_tokens(model, "word " * 40) == 100
