"""Counts of the server in place of estimates: at rest, and before a request that nearly fills the window."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.config.settings import ChatSettings
from lmchat.domain.context import said_tokens
from lmchat.domain.event import ReasoningDelta, RequestSent, StreamFinished, TextDelta
from lmchat.domain.message import Receipt, Role, text_message
from lmchat.domain.path import MessagePath, Stretch
from lmchat.domain.server import Endpoint
from lmchat.errors import ServerRejected, ServerUnavailable, TooManyRequests
from lmchat.services import context_meter
from lmchat.services.context_meter import ContextMeter
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.resting_count import RestingCount
from lmchat.storage.store import SessionStore
from tests.support.scripted_backend import ScriptedBackend, target

UNCOUNTED = [RequestSent(), TextDelta(text="Yes."), StreamFinished(reason="stop")]
FAILURES = (
    ServerUnavailable("It is away."),
    ServerRejected("It will not.", kind="bad_request"),
    TooManyRequests("Too many.", wait_s=3),
)


@pytest.fixture
async def store(tmp_path):
    store = SessionStore(tmp_path / "sessions.db")
    yield store
    await store.aclose()


@pytest.fixture
def backend():
    return ScriptedBackend(*[UNCOUNTED] * 9)


@pytest.fixture
def sessions(backend, store):
    sessions = OpenSessions(chat=ChatSettings(system_prompt="Be short."), backend=backend, store=store)
    sessions.target = target()
    return sessions


@pytest.fixture
def resting(sessions, backend):
    return RestingCount(sessions, backend)


async def say(sessions, text, how=None):
    async with aclosing(sessions.shown.conversation.send(text, how or sessions.how_to_ask())) as events:
        async for _ in events:
            pass


async def count(resting, draft=""):
    wanted = resting.at_rest(draft)
    assert wanted is not None
    await resting.count(wanted)


def said(request) -> list[str]:
    return [message.text for message in request.messages]


async def test_a_conversation_that_was_estimated_is_counted_once(sessions, resting, backend):
    await say(sessions, "Hello")
    assert sessions.context_use().is_estimated
    backend.tokens = 77
    await count(resting)
    await count(resting)
    assert (sessions.context_use().tokens, sessions.context_use().is_estimated) == (77, False)
    assert [said(one) for one in backend.counts] == [["Be short.", "Hello", "Yes."]]


@pytest.mark.parametrize("window", [200, None])
async def test_a_conversation_far_beyond_the_window_is_not_read_to_learn_that(
    sessions, resting, backend, monkeypatch, window
):
    words = "word " * 1_000
    sessions.shown.conversation.messages = MessagePath.packed(
        text_message(Role.USER, f"{n} {words}") for n in range(640)
    )
    sessions.target = target(context_loaded=window, context_max=window)
    read, unpack = [], Stretch.unpack
    monkeypatch.setattr(Stretch, "unpack", lambda stretch: read.append(stretch) or unpack(stretch))
    await count(resting)
    await count(resting, "Hello")
    assert backend.counts == []
    assert sum(stretch.is_packed for stretch in read) <= 4  # of ten: the last, looked at now and then


async def test_a_count_is_not_taken_for_what_comes_after_it(sessions, resting, backend):
    await say(sessions, "Hello")
    backend.tokens = 77
    await count(resting)
    await say(sessions, "And?")
    assert sessions.context_use().is_estimated
    sessions.target = target("another")
    assert sessions.context_use().tokens != 77


async def test_a_draft_is_counted_with_what_goes_before_it(sessions, resting, backend):
    backend.tokens = 40
    await count(resting, "Hello")
    assert [said(one) for one in backend.counts] == [["Be short.", "Hello"]]
    messages = sessions.shown.conversation.messages
    drafted = sessions.meter.drafted(sessions.target, messages, "Hello")
    assert (drafted.tokens, drafted.total, drafted.is_estimated) == (40, 40, False)
    assert sessions.meter.drafted(sessions.target, messages, "Hello!").is_estimated
    assert sessions.meter.drafted(sessions.target, messages, "").tokens == 0


async def test_what_a_draft_adds_is_the_difference(sessions, resting, backend):
    await say(sessions, "Hello")
    backend.tokens = 77
    await count(resting)
    backend.tokens = 90
    await count(resting, "And then?")
    drafted = sessions.meter.drafted(sessions.target, sessions.shown.conversation.messages, "And then?")
    assert (drafted.tokens, drafted.total, drafted.is_estimated) == (13, 90, False)


async def test_nothing_leaves_this_machine_before_it_is_sent(sessions, resting):
    await say(sessions, "Hello")
    assert resting.at_rest("My secret is") is not None
    sessions.target = replace(target(), endpoint=Endpoint.parse("http://192.168.1.9:8000"))
    assert resting.at_rest("My secret is") is None
    assert resting.at_rest("") is None


@pytest.mark.rule("R-25")
async def test_while_an_answer_is_on_its_way_there_is_nothing_to_count(sessions, resting, backend):
    gate = asyncio.Event()
    backend.scripts.insert(0, [RequestSent(), TextDelta(text="Yes"), gate, StreamFinished(reason="stop")])
    turn = asyncio.create_task(say(sessions, "Hello"))
    await backend.asked.wait()
    assert resting.at_rest("And") is None
    gate.set()
    await turn
    assert resting.at_rest("And") is not None


@pytest.mark.parametrize("change", [{"is_loading": True}, {"model": None}])
async def test_without_a_model_in_memory_there_is_nothing_to_count(sessions, resting, change):
    sessions.target = replace(target(), **change)
    assert resting.at_rest("Hello") is None
    sessions.target = None
    assert resting.at_rest("Hello") is None


@pytest.mark.parametrize("failure", [None, *FAILURES])
async def test_who_cannot_count_leaves_the_estimate_as_it_was(sessions, resting, backend, failure):
    await say(sessions, "Hello")
    before = sessions.context_use()
    backend.tokens = failure
    await count(resting, "And?")
    assert sessions.context_use() == before
    assert sessions.meter.drafted(sessions.target, sessions.shown.conversation.messages, "And?").is_estimated


async def test_what_is_longer_than_the_window_is_not_sent_to_be_counted(sessions, resting, backend):
    sessions.target = target(context_loaded=64)
    backend.tokens = 5
    await count(resting, "word " * 200)
    assert backend.counts == []


def test_counts_of_long_ago_are_forgotten():
    meter, asked = ContextMeter(), [text_message(Role.USER, f"Question {number}") for number in range(200)]
    for number, message in enumerate(asked):
        meter.note_count(target(), [message], number)
    assert meter.use(target(), [asked[0]]).is_estimated
    assert meter.use(target(), [asked[-1]]).tokens == 199
    assert len(meter._counted) < 100


WINDOW, LARGER = 400, 440
DIGITS = "1234567 " * 50
"""100 tokens by our estimate."""


async def near_the_window(sessions, backend, window, counts):
    """Say three times what is estimated at a quarter of the window, then once more with these counts."""
    sessions.target = target(context_loaded=window)
    how = sessions.how_to_ask()
    for text in (DIGITS, DIGITS):
        await say(sessions, text, how)
    backend.counts.clear()
    replies = iter(counts)

    async def count_tokens(request):
        backend.counts.append(request)
        return next(replies)

    backend.count_tokens = count_tokens
    await say(sessions, DIGITS, how)
    return said(backend.requests[-1])


async def test_a_request_that_only_seems_to_fit_leaves_out_more(sessions, backend):
    # the estimate is 3 x 104 and a little, beside 110 that are kept free
    sent = await near_the_window(sessions, backend, LARGER, [700, 350])
    assert sent == ["Be short.", "Yes.", DIGITS]
    assert len(backend.counts) == 2


async def test_a_request_that_only_seems_too_long_goes_out_whole(sessions, backend):
    sent = await near_the_window(sessions, backend, WINDOW, [120, 160])
    assert sent == ["Be short.", DIGITS, "Yes.", DIGITS, "Yes.", DIGITS]
    assert sessions.shown.conversation.sent.left_out == 0


async def test_a_request_far_from_the_window_is_not_counted(sessions, backend):
    backend.tokens = 9
    await say(sessions, "Hello")
    assert backend.counts == []


@pytest.mark.parametrize("failure", [None, *FAILURES])
async def test_an_answer_does_not_depend_on_the_count(sessions, backend, failure):
    sessions.target = target(context_loaded=WINDOW)
    backend.tokens = failure
    await say(sessions, DIGITS * 3)
    assert backend.counts
    assert sessions.shown.conversation.messages[-1].text == "Yes."


async def test_an_answer_does_not_wait_for_a_count_that_does_not_come(sessions, backend, monkeypatch):
    monkeypatch.setattr(context_meter, "COUNT_S", 0.01)

    async def never(_request):
        await asyncio.Event().wait()

    backend.count_tokens = never
    sessions.target = target(context_loaded=WINDOW)
    await say(sessions, DIGITS * 3)
    assert sessions.shown.conversation.messages[-1].text == "Yes."


async def stopped_after(sessions, *deltas):
    """Ask, and stop once so much has come."""
    sessions._backend.scripts = [[RequestSent(), *deltas, asyncio.Event()]]
    left = len(deltas)
    async with aclosing(sessions.shown.conversation.send("Go", sessions.how_to_ask())) as events:
        async for event in events:
            left -= isinstance(event, TextDelta | ReasoningDelta)
            if not left:
                break
    return sessions.shown.conversation.messages[-1]


async def test_what_a_stopped_answer_takes_is_never_less_than_the_tokens_that_came_of_it(sessions):
    before = sessions.context_use().tokens
    await stopped_after(sessions, TextDelta(text="0x7f, " * 100, pieces=600))
    use = sessions.context_use()
    assert before + 600 <= use.tokens < before + 700
    assert use.is_estimated


async def test_what_was_thought_is_no_part_of_what_is_taken(sessions):
    half = "0x7f, " * 100
    await stopped_after(sessions, ReasoningDelta(text=half, pieces=600), TextDelta(text=half, pieces=600))
    assert 600 <= sessions.context_use().tokens < 700


async def test_an_answer_that_was_gone_on_with_takes_the_tokens_of_both_parts():
    begun = replace(Receipt(completion_tokens=400), begun_tokens=600)
    message = replace(text_message(Role.ASSISTANT, "0x7f, " * 100), receipt=begun)
    assert said_tokens(message) == 1000
    assert said_tokens(text_message(Role.USER, "0x7f, ")) == 0


async def test_what_came_is_counted_and_not_corrected_by_what_was_learnt_of_a_short_prompt(sessions):
    await stopped_after(sessions, TextDelta(text="ten chars " * 200, pieces=500))
    before = sessions.context_use().tokens
    sessions.meter.learn(sessions.target, [text_message(Role.USER, "word " * 40)], 150)
    assert sessions.meter.factor(sessions.target) > 2
    assert 0 <= sessions.context_use().tokens - before < 20


async def test_pieces_of_several_tokens_each_are_no_count(sessions):
    await stopped_after(sessions, TextDelta(text="ten chars " * 200, pieces=20))
    assert sessions.context_use().tokens >= 500
