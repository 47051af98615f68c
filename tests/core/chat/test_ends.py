"""How turns end: what `wait` gives, which event comes, and what the last answer says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import Mock

import pytest
from msgspec.structs import replace

from lmchat.base.errors import (
    LMChatError,
    RequestInvalid,
    ServerUnavailable,
    StreamInterrupted,
    WrongUse,
)
from lmchat.core.chat.events import AnswerStarted
from lmchat.core.chat.session import TurnEnded
from lmchat.core.servers.events import ReasoningDelta, RequestSent, TextDelta
from lmchat.core.sessions.message import AnswerState, Role
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.tools.calls import ApprovalScope, Decision
from tests.support.chat_turns import ChatTurns
from tests.support.programs import until
from tests.support.scripted_backend import answer_steps
from tests.support.scripted_tools import ScriptedHost, calls, read_text, toolbox

COMPLETE = AnswerState.COMPLETE
STOPPED = AnswerState.STOPPED
FAILED = AnswerState.FAILED
INTERRUPTED = AnswerState.INTERRUPTED
OFFLINE = ServerUnavailable("It is gone.", next_step="Start it.", kind="offline")
BROKE = StreamInterrupted("The connection broke.", next_step="Ask again.")
TEXT = TextDelta(text="Let")
HELD = [RequestSent(), TEXT, asyncio.Event()]
QUEUED = ["and then", "at last"]


class Row(NamedTuple):
    act: Callable[[ChatTurns], None]  # starts the turn
    script: list[object]
    state: AnswerState
    error: type[Exception] | None = None
    is_raised: bool = False  # by `wait`
    answer: tuple[AnswerState, str] | None = (COMPLETE, "")  # state and failure of the last one
    breaks_at: type | None = None  # the event that the front end cannot show
    stops_at: type | None = None
    text: str = ""  # that is kept


def send(chat: ChatTurns) -> None:
    chat.sessions.send(chat.session, PendingPrompt(draft="next"))


def send_three(chat: ChatTurns) -> None:
    """Two of them wait behind the turn."""
    for text in ("next", *QUEUED):
        chat.sessions.send(chat.session, PendingPrompt(draft=text))


def compact(chat: ChatTurns) -> None:
    chat.sessions.compact(chat.session)


def compact_too_early(chat: ChatTurns) -> None:
    chat.sessions.open_sessions.switch_to_new()
    compact(chat)


def queue_with_option(chat: ChatTurns) -> None:
    """Queue a prompt behind a turn, and take a server that knows an option of the command line not."""
    send(chat)
    send(chat)
    choices = chat.sessions.turn_options
    choices.layers = replace(choices.layers, command_line={"min_p": 0.1})
    chat.use("Mistral")


ROWS = {
    "complete": Row(send, answer_steps("Kale."), COMPLETE),
    "refused from the queue": Row(
        queue_with_option, answer_steps("Kale."), FAILED, WrongUse, is_raised=True
    ),
    "refused before an answer": Row(
        compact_too_early, [], FAILED, RequestInvalid, is_raised=True, answer=None
    ),
    "failed before text": Row(
        send_three, [OFFLINE], FAILED, ServerUnavailable, answer=(FAILED, "It is gone.")
    ),
    "broken off": Row(
        send_three,
        [RequestSent(), TEXT, BROKE],
        INTERRUPTED,
        StreamInterrupted,
        answer=(INTERRUPTED, "The connection broke."),
        text="Let",
    ),
    "broken off in a thought": Row(
        send,
        [ReasoningDelta(text="Hm."), BROKE],
        INTERRUPTED,
        StreamInterrupted,
        answer=(INTERRUPTED, "The connection broke."),
    ),
    "a bug": Row(
        send,
        [KeyError("secret")],
        FAILED,
        LMChatError,
        answer=(FAILED, "lmchat had an internal error."),
    ),
    "a bug after text": Row(
        send,
        [TEXT, KeyError("secret")],
        INTERRUPTED,
        LMChatError,
        answer=(INTERRUPTED, "lmchat had an internal error."),
        text="Let",
    ),
    "stopped before an answer": Row(send, answer_steps("Kale."), STOPPED, stops_at=TurnEnded),
    "stopped before text": Row(send, HELD, STOPPED, answer=(STOPPED, ""), stops_at=AnswerStarted),
    "stopped": Row(send, HELD, STOPPED, answer=(STOPPED, ""), stops_at=TextDelta, text="Let"),
    "front end raised": Row(
        send_three,
        HELD,
        FAILED,
        BrokenPipeError,
        is_raised=True,
        answer=(STOPPED, ""),
        breaks_at=TextDelta,
        text="Let",
    ),
    "front end raised at the end": Row(
        send, answer_steps("Kale."), COMPLETE, BrokenPipeError, is_raised=True, breaks_at=TurnEnded
    ),
    "summary broke off": Row(
        compact, [RequestSent(), TEXT, BROKE], FAILED, LMChatError, is_raised=True
    ),
    "summary stopped": Row(compact, HELD, STOPPED, stops_at=TextDelta),
}


@pytest.mark.rule("R-27")
@pytest.mark.parametrize("name", ROWS)
async def test_a_turn_ends_once_and_its_error_is_told_at_one_place(store, name):
    row = ROWS[name]
    # an event belongs to the loop of one test
    script = [asyncio.Event() if isinstance(one, asyncio.Event) else one for one in row.script]
    chat = ChatTurns(store, *(answer_steps(one) for one in ("A.", "B.", "C.")), script)
    for one in "abc":
        await chat.send(one)
    chat.events.clear()
    chat.breaks_at = row.breaks_at
    row.act(chat)
    if row.stops_at is TurnEnded:
        chat.session.stop()
    elif row.stops_at is not None:
        await chat.until(row.stops_at)
        chat.session.stop()

    raised: Exception | None = None
    try:
        ended = await chat.sessions.wait(chat.session)
    except (LMChatError, BrokenPipeError) as error:
        raised = error
        ended = chat.session.last_end
    assert (raised is not None) == row.is_raised
    assert ended == chat.session.last_end
    assert (ended.state, type(ended.error)) == (row.state, row.error or type(None))
    assert raised in (None, ended.error)
    assert ended.is_shown_in_answer == (row.error is not None and not row.is_raised)
    if row.breaks_at is not TurnEnded:
        assert chat.ends[-1] == ended, "the event is what `wait` gives"
    assert len(chat.ends) <= 2, "that of a queued prompt comes behind that of its turn"

    last = chat.session.messages.last_answer_or_prompt
    if row.answer is None:
        assert last is None
        return
    assert last is not None
    failure = last.failure.message if last.failure else ""
    assert (last.state, failure) == row.answer
    assert not row.text or last.text == row.text
    assert row.act is not send_three or chat.returned == QUEUED
    assert row.breaks_at is not TextDelta or chat.server.stopped == 1
    assert list(await chat.on_disk()) == list(chat.path)
    assert not chat.session.is_running
    chat.breaks_at = None
    chat.use("llama.cpp")
    await chat.send("after")
    assert chat.session.last_end.state is COMPLETE, "the next turn is free of it"


async def test_an_answer_whose_stats_cannot_be_made_is_saved_with_its_text(store, caplog):
    chat = ChatTurns(store, answer_steps("Kale."))
    chat.sessions.context_window.estimator.learn = Mock(side_effect=ZeroDivisionError)
    for text in ("next", "and then"):
        await chat.send(text)
    answer = (await chat.on_disk())[1]
    assert (answer.state, answer.text, answer.stats) == (COMPLETE, "Kale.", None)
    assert [message.text for message in await chat.on_disk()] == chat.texts
    assert chat.ends[-1].state is COMPLETE
    assert "ZeroDivisionError" in caplog.text


READ_BOTH = calls(("files__read_text", {"path": "a"}), ("files__read_text", {"path": "b"}))
CALLED = (COMPLETE, "")
READ = [(COMPLETE, "text of a"), (COMPLETE, "text of b")]


class Stage(NamedTuple):
    is_reached: Callable[[ChatTurns, ScriptedHost], bool]
    stopped: list[tuple[AnswerState, str]]  # what stands behind the prompt after a stop
    again: ReasoningDelta | TextDelta | None = None  # what comes of the answer to the results
    is_asked: bool = False
    runs_until_told: bool = False
    is_repeated: bool = False  # the first call, after a whole turn


STAGES = {
    "asked about a call": Stage(
        lambda chat, _: bool(chat.questions), [CALLED, (STOPPED, ""), (STOPPED, "")], is_asked=True
    ),
    "a call runs": Stage(
        lambda chat, host: len(host.calls) == 2 and READ[1] in said(chat),
        [CALLED, (STOPPED, ""), READ[1]],
        runs_until_told=True,
    ),
    "a repeated call runs": Stage(
        lambda chat, host: len(host.calls) == 1,
        [CALLED, (STOPPED, ""), READ[1]],
        runs_until_told=True,
        is_repeated=True,
    ),
    "after the last call": Stage(
        lambda chat, _: len(chat.server.requests) == 2, [CALLED, *READ, (STOPPED, "")]
    ),
    "the answer streams": Stage(
        lambda chat, _: TEXT in chat.events, [CALLED, *READ, (STOPPED, "Let")], TEXT
    ),
    "a thought streams": Stage(
        lambda chat, _: ReasoningDelta(text="Hm.") in chat.events,
        [CALLED, *READ, (STOPPED, "Hm.")],
        ReasoningDelta(text="Hm."),
    ),
}


def said(chat: ChatTurns) -> list[tuple[AnswerState, str]]:
    return [
        (one.state, one.tool_result if one.role is Role.TOOL else one.reasoning + one.text)
        for one in chat.path[1:]
    ]


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("act", ["Esc", "Ctrl+Q", "a prompt"])
async def test_a_turn_with_calls_ends_at_each_stage_with_all_that_has_come(store, name, act):
    stage = STAGES[name]
    gate = asyncio.Event()
    host = ScriptedHost()
    started = [stage.again] if stage.again is not None else []
    again = [RequestSent(), *started, gate, *answer_steps("Both.")]
    scripts = [READ_BOTH, again, answer_steps("Then.")]
    chat = ChatTurns(store, box=toolbox(host, approve="ask" if stage.is_asked else "always"))
    if stage.is_repeated:
        chat.server.scripts = [READ_BOTH, answer_steps("Read."), *scripts[1:]]
        await chat.send("first")
        host.calls.clear()
    else:
        chat.server.scripts = scripts
    if stage.runs_until_told:
        host.tools["read_text"] = lambda given: gate if given["path"] == "a" else read_text(given)
    if stage.is_repeated:
        chat.sessions.regenerate(chat.session, chat.path[2])
    else:
        send(chat)
    await until(lambda: stage.is_reached(chat, host), name)

    if act == "a prompt":
        send(chat)
        assert chat.session.queue.drafts == ("next",)
        gate.set()
        chat.decisions = [Decision(choice=ApprovalScope.ONCE)] * 2
        chat.decide(Decision(choice=ApprovalScope.ONCE))
        await chat.wait()
        result = (COMPLETE, "late") if stage.runs_until_told else READ[0]
        answer = (COMPLETE, f"{''.join(one.text for one in started)}Both.")
        assert said(chat) == [
            CALLED,
            result,
            READ[1],
            answer,
            (COMPLETE, "next"),
            (COMPLETE, "Then."),
        ]
    elif act == "Esc":
        await chat.stop()
        assert said(chat) == stage.stopped
        assert chat.ends[-1].state is STOPPED
        assert chat.ends[-1].answer == chat.session.turn.message
    else:
        send(chat)
        ends = len(chat.ends)
        await chat.sessions.close()
        assert said(chat) == stage.stopped
        assert len(chat.ends) == ends, "nothing is shown any more"
        assert chat.session.queue.drafts == ("next",), "the next start finds it in the draft"
    assert host.cancelled == (["read_text"] if stage.runs_until_told and act != "a prompt" else [])
    assert await chat.on_disk() == chat.path
    assert (chat.session.is_running, chat.session.question) == (False, None)
