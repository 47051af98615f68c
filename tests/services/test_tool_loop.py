from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.domain.event import RequestAdapted
from lmchat.domain.message import AnswerState, Role
from lmchat.domain.tool import Choice, Decision, ToolResult
from lmchat.services.conversation import MessageAdded, TurnSettings
from lmchat.services.tool_loop import ApprovalAsked
from tests.services.test_conversation import begin, on_disk, reading
from tests.support.scripted_backend import ScriptedBackend, answer, read, target
from tests.support.scripted_tools import ScriptedHost, calls, read_text, toolbox

_READ = "files__read_text"
_CAN = target(capabilities=("tools",))


def how(box) -> TurnSettings:
    return TurnSettings(target=_CAN, toolbox=box)


def results(conversation) -> list[tuple[AnswerState, str]]:
    return [(one.state, one.tool_result) for one in conversation.messages if one.role is Role.TOOL]


async def test_calls_run_side_by_side_and_their_results_go_back_until_the_model_answers(store):
    host = ScriptedHost()
    backend = ScriptedBackend(calls((_READ, {"path": "a"}), (_READ, {"path": "b"})), answer("Both read."))
    conversation = begin(backend, store)
    await read(conversation.send("Read both", how(toolbox(host))))
    assert [tool.wire_name for tool in backend.requests[0].tools] == [_READ]
    assert sorted(call["path"] for _, call in host.calls) == ["a", "b"]
    sent = [(one.role, one.sent_text) for one in backend.requests[1].messages[2:]]
    assert sent == [(Role.TOOL, "text of a"), (Role.TOOL, "text of b")]
    last = conversation.messages[-1]
    assert (last.text, last.receipt.steps) == ("Both read.", 1)
    assert await on_disk(store, conversation) == conversation.messages


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (("nothing", {}), "There is no tool of this name."),
        ((_READ, "{not json"), "The arguments are not a JSON object."),
        (
            (_READ, {"path": 3}),
            "The arguments do not match the schema: at $.path: 3 is not of type 'string'.",
        ),
    ],
)
async def test_a_call_that_cannot_run_is_an_error_result_and_the_turn_goes_on(call, result, store):
    host = ScriptedHost()
    backend = ScriptedBackend(calls(call), answer("I see."))
    conversation = begin(backend, store)
    await read(conversation.send("Read", how(toolbox(host))))
    assert results(conversation) == [(AnswerState.FAILED, result)]
    assert host.calls == []
    assert conversation.messages[-1].text == "I see."


@pytest.mark.parametrize(
    ("decision", "ran"),
    [
        (Decision(choice=Choice.NO, reason="not that file"), [False, False]),
        (Decision(choice=Choice.ONCE), [True, False]),
        (Decision(choice=Choice.SESSION), [True, True]),
        (Decision(choice=Choice.ALWAYS), [True, True]),
    ],
)
async def test_the_user_decides_about_each_call_unless_for_longer(decision, ran, store):
    box = toolbox(approve="ask")
    twice = [calls((_READ, {"path": "a"})), calls((_READ, {"path": "b"})), answer("Done.")]
    conversation = begin(ScriptedBackend(*twice), store)
    asked = 0
    async with aclosing(conversation.send("Read", how(box))) as events:
        async for event in events:
            if isinstance(event, ApprovalAsked):
                asked += 1
                event.decision.set_result(decision if asked == 1 else Decision(choice=Choice.NO))
    states = [state is AnswerState.COMPLETE for state, _ in results(conversation)]
    assert states == ran
    assert box.allowed == (("files/read_text",) if decision.choice is Choice.ALWAYS else ())
    if decision.reason:
        assert results(conversation)[0][1] == "The user refused this call. Reason: not that file"


async def test_a_never_of_the_configuration_wins_and_the_tool_is_not_offered(store):
    box = toolbox(approve="always", approval={"files/read_text": "never"})
    backend = ScriptedBackend(calls((_READ, {"path": "a"})), answer())
    conversation = begin(backend, store)
    await read(conversation.send("Read", how(box)))
    assert backend.requests[0].tools == ()
    assert results(conversation)[0][0] is AnswerState.FAILED


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"path": str(number)} for number in range(3)], "The model called tools 2 times without an answer."),
        ([{"path": "a"}] * 3, 'The model made the same call 3 times in a row: files/read_text("a").'),
    ],
)
async def test_a_loop_without_an_end_stops_with_a_message_and_can_go_on(steps, words, store):
    box = toolbox(max_steps=2 if len({str(step) for step in steps}) > 1 else 10)
    scripts = [calls((_READ, step)) for step in steps]
    conversation = begin(ScriptedBackend(*scripts, answer("At last.")), store)
    await read(conversation.send("Read", how(box)))
    last = conversation.messages[-1]
    assert (last.state, last.failure.message) == (AnswerState.FAILED, words)
    await read(conversation.regenerate(last.message_id, how(box)))
    assert conversation.messages[-1].text == "At last."


@pytest.mark.parametrize("phase", ["approval", "call"])
async def test_a_stop_ends_what_runs_and_the_call_can_be_repeated(phase, store):
    host = ScriptedHost(read_text=lambda _: asyncio.Event())
    box = toolbox(host, approve="ask" if phase == "approval" else "always")
    backend = ScriptedBackend(calls((_READ, {"path": "a"})), answer("Read."))
    conversation = begin(backend, store)
    kind = ApprovalAsked if phase == "approval" else MessageAdded
    turn = await reading(conversation.send("Read", how(box)), kind)
    if phase == "call":
        await host.asked.wait()
    turn.cancel()
    await asyncio.wait([turn])
    assert not conversation.is_running
    assert results(conversation) == [(AnswerState.STOPPED, "")]
    assert (await on_disk(store, conversation))[-1].state is AnswerState.STOPPED
    assert host.cancelled == (["read_text"] if phase == "call" else [])
    host.tools = {"read_text": lambda _: ToolResult(text="found")}
    await read(conversation.regenerate(conversation.messages[-1].message_id, how(toolbox(host))))
    assert results(conversation) == [(AnswerState.COMPLETE, "found")]
    assert conversation.messages[-1].text == "Read."


async def test_of_500_tools_as_many_are_offered_as_servers_take_and_that_is_said(store):
    host = ScriptedHost(**{f"tool{number}": read_text for number in range(500)})
    backend = ScriptedBackend(answer())
    conversation = begin(backend, store)
    events = await read(conversation.send("Read", how(toolbox(host))))
    assert len(backend.requests[0].tools) == 128
    assert "372 tools are left out. Switch off others with /tools." in [
        event.note for event in events if isinstance(event, RequestAdapted)
    ]


async def test_a_full_window_drops_a_call_with_its_result_and_keeps_what_follows_the_last_prompt(store):
    host = ScriptedHost(read_text=lambda _: ToolResult(text="word " * 600))
    once = [calls((_READ, {"path": "a"})), answer("Read.")]
    backend = ScriptedBackend(*once, *once)
    conversation = begin(backend, store)
    small = replace(how(toolbox(host)), target=target(capabilities=("tools",), context_loaded=1600))
    for prompt in ("First", "Second"):
        await read(conversation.send(prompt, small))
    sent = [one.role for one in backend.requests[-1].messages]
    assert sent == [Role.ASSISTANT, Role.USER, Role.ASSISTANT, Role.TOOL]
