from __future__ import annotations

import pytest

from lmchat.config.settings import ChatSettings
from lmchat.domain.event import RequestSent, StreamFinished, TextDelta
from lmchat.domain.message import Role, SentThoughts, text_message
from lmchat.errors import ServerUnavailable
from lmchat.services.context_meter import PromptSize
from lmchat.services.open_sessions import OpenSessions
from tests.support.scripted_backend import ScriptedBackend, read, target

UNCOUNTED = [RequestSent(), TextDelta(text="Yes."), StreamFinished(reason="stop")]


@pytest.fixture
def backend():
    return ScriptedBackend(*[UNCOUNTED] * 9)


@pytest.fixture
def sessions(backend, store):
    sessions = OpenSessions(
        chat=ChatSettings(system_prompt="Be short."), backend=backend, store=store
    )
    sessions.next_turn.target = target()
    return sessions


async def say(sessions, text, settings=None):
    await read(sessions.shown.conversation.send(text, settings or sessions.next_turn.settings()))


def said(request) -> list[str]:
    return [message.text for message in request.messages]


WINDOW, LARGER = 400, 440
DIGITS = "1234567 " * 50  # 100 tokens by our estimate


async def near_the_window(sessions, backend, window, counts):
    """Say three times what is estimated at a quarter of the window, then once more with these counts."""
    sessions.next_turn.target = target(context_loaded=window)
    settings = sessions.next_turn.settings()
    for text in (DIGITS, DIGITS):
        await say(sessions, text, settings)
    backend.counts.clear()
    replies = iter(counts)

    async def count_tokens(request):
        backend.counts.append(request)
        return next(replies)

    backend.count_tokens = count_tokens
    await say(sessions, DIGITS, settings)
    return said(backend.requests[-1])


async def test_a_request_that_only_seems_to_fit_leaves_out_more(sessions, backend):
    # the estimate is 3 x 104 and a little, beside 110 that are kept free
    sent = await near_the_window(sessions, backend, LARGER, [700])
    assert sent == ["Be short.", "Yes.", DIGITS]
    assert len(backend.counts) == 1


async def test_a_request_that_only_seems_too_long_goes_out_whole(sessions, backend):
    sent = await near_the_window(sessions, backend, WINDOW, [120])
    assert sent == ["Be short.", DIGITS, "Yes.", DIGITS, "Yes.", DIGITS]
    assert sessions.shown.conversation.sent.left_out == 0


async def test_a_request_far_from_the_window_is_not_counted(sessions, backend):
    backend.tokens = 9
    await say(sessions, "Hello")
    assert backend.counts == []


@pytest.mark.parametrize("failure", [None, ServerUnavailable("It is away.")])
async def test_an_answer_does_not_depend_on_the_count(sessions, backend, failure):
    sessions.next_turn.target = target(context_loaded=WINDOW)
    backend.tokens = failure
    await say(sessions, DIGITS * 3)
    assert backend.counts
    assert sessions.shown.conversation.messages[-1].text == "Yes."


async def test_what_is_typed_adds_an_estimate_that_learns_from_the_server(sessions, backend):
    meter, target = sessions.next_turn.meter, sessions.next_turn.target
    assert meter.draft_tokens(target, "word " * 40) == 50
    prompt = text_message(Role.USER, "word " * 40)
    meter.learn(target, PromptSize.of([prompt], SentThoughts.NONE), 104)
    assert meter.draft_tokens(target, "word " * 40) == 100
    assert backend.counts == []
