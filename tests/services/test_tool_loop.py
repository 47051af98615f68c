from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.config.settings import Approval, McpSettings, ToolSettings
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.context_meter import ContextMeter
from lmchat.services.conversation import Conversation
from lmchat.services.conversation_events import MessageAdded
from lmchat.services.save_queue import SaveQueue
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.tools import Toolbox
from lmchat.sessions.message import AnswerState, ChatMessage, Role, ToolCallPart
from lmchat.sessions.session import MessagePath, Session
from lmchat.tools.tool import Choice, Decision, ToolResult
from tests.support import chats
from tests.support.chats import header
from tests.support.conversations import begin, on_disk, reading
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read, target
from tests.support.scripted_tools import ScriptedHost, calls, read_text, toolbox

_READ = "files__read_text"
_CAN = target(capabilities=("tools",))


READ_A = calls((_READ, {"path": "a"}))
TOLD = ToolCallPart(call_id="secret", name=_READ, arguments='{"path": "secret"}')  # in a file


def settings_with(box) -> TurnSettings:
    return TurnSettings(target=_CAN, toolbox=box)


async def sent(store, box, *scripts):
    """Send a prompt with tools; return the conversation, its backend and the events."""
    backend = ScriptedBackend(*scripts)
    conversation = begin(backend, store)
    events = await read(conversation.send("Read", settings_with(box)))
    return conversation, backend, events


def results(conversation) -> list[tuple[AnswerState, str]]:
    return [(one.state, one.tool_result) for one in conversation.messages if one.role is Role.TOOL]


async def test_calls_run_side_by_side_and_their_results_go_back_until_the_model_answers(store):
    host = ScriptedHost()
    both = calls((_READ, {"path": "a"}), (_READ, {"path": "b"}))
    conversation, backend, _ = await sent(store, toolbox(host), both, answer_steps("Both read."))
    assert [tool.wire_name for tool in backend.requests[0].tools] == [_READ]
    assert sorted(call["path"] for _, call in host.calls) == ["a", "b"]
    behind = [(one.role, one.sent_text) for one in backend.requests[1].messages[2:]]
    assert behind == [(Role.TOOL, "text of a"), (Role.TOOL, "text of b")]
    last = conversation.messages[-1]
    assert (last.text, last.stats.steps) == ("Both read.", 1)
    assert await on_disk(store, conversation) == conversation.messages


async def test_a_call_that_cannot_run_is_an_error_result_and_the_turn_continues(store):
    mismatch = 'The arguments do not match the schema: at $.path: 3 is not of type "string".'
    for call, result in (
        (("nothing", {}), "There is no tool of this name."),
        ((_READ, "{not json"), "The arguments are not a JSON object."),
        ((_READ, {"path": 3}), mismatch),
    ):
        host = ScriptedHost()
        conversation, *_ = await sent(store, toolbox(host), calls(call), answer_steps("I see."))
        assert results(conversation) == [(AnswerState.FAILED, result)]
        assert host.calls == []
        assert conversation.messages[-1].text == "I see."


async def test_the_user_decides_about_each_call_unless_for_longer(store):
    refused = "The user refused this call. Reason: not that file"
    for decision, ran in (
        (Decision(choice=Choice.NO, reason="not that file"), [False, False]),
        (Decision(choice=Choice.ONCE), [True, False]),
        (Decision(choice=Choice.SESSION), [True, True]),
        (Decision(choice=Choice.ALWAYS), [True, True]),
    ):
        box = toolbox(approve="ask")
        backend = ScriptedBackend(READ_A, calls((_READ, {"path": "b"})), answer_steps("Done."))
        conversation = begin(backend, store)
        decisions = [decision, Decision(choice=Choice.NO)]
        async with aclosing(conversation.send("Read", settings_with(box))) as events:
            async for event in events:
                if isinstance(event, ApprovalAsked):
                    event.decision.set_result(decisions.pop(0))
        assert [state is AnswerState.COMPLETE for state, _ in results(conversation)] == ran
        is_always = decision.choice is Choice.ALWAYS
        assert list(box.allowed) == (["files/read_text"] if is_always else [])
        assert not decision.reason or results(conversation)[0][1] == refused


async def test_a_never_of_the_configuration_wins_and_the_tool_is_not_offered(store):
    box = toolbox(approve="always", approval={"files/read_text": "never"})
    conversation, backend, _ = await sent(store, box, READ_A, answer_steps())
    assert backend.requests[0].tools == ()
    assert results(conversation)[0][0] is AnswerState.FAILED


async def test_a_loop_without_an_end_stops_with_a_message_and_can_go_on(store):
    for paths, most, words in (
        ("abc", 2, "The model called tools 2 times without an answer."),
        ("aaa", 10, 'The model made the same call 3 times in a row: files/read_text("a").'),
    ):
        box = toolbox(max_steps=most)
        scripts = [calls((_READ, {"path": path})) for path in paths]
        conversation, *_ = await sent(store, box, *scripts, answer_steps("At last."))
        last = conversation.messages[-1]
        assert (last.state, last.failure.message) == (AnswerState.FAILED, words)
        await read(conversation.regenerate(last.message_id, settings_with(box)))
        assert conversation.messages[-1].text == "At last."


@pytest.mark.parametrize("phase", ["approval", "call"])
async def test_a_stop_ends_what_runs_and_the_call_can_be_repeated(phase, store):
    host = ScriptedHost(read_text=lambda _: asyncio.Event())
    box = toolbox(host, approve="ask" if phase == "approval" else "always")
    backend = ScriptedBackend(READ_A, answer_steps("Read."))
    conversation = begin(backend, store)
    kind = ApprovalAsked if phase == "approval" else MessageAdded
    turn = await reading(conversation.send("Read", settings_with(box)), kind)
    if phase == "call":
        await host.asked.wait()
    turn.cancel()
    await asyncio.wait([turn])
    assert not conversation.is_running
    assert results(conversation) == [(AnswerState.STOPPED, "")]
    assert (await on_disk(store, conversation))[-1].state is AnswerState.STOPPED
    assert host.cancelled == (["read_text"] if phase == "call" else [])
    host.tools = {"read_text": lambda _: ToolResult(text="found")}
    await read(
        conversation.regenerate(conversation.messages[-1].message_id, settings_with(toolbox(host)))
    )
    assert results(conversation) == [(AnswerState.COMPLETE, "found")]
    assert conversation.messages[-1].text == "Read."


async def reopened(store, backend, *messages) -> Conversation:
    """Save a chat as an import does, and open it."""
    session = Session(header=header("Imported"), messages=MessagePath(messages))
    await store.import_session(session)
    saved = await store.open_session(session.header.session_id)
    return Conversation(saved, backend=backend, save_queue=SaveQueue(store), meter=ContextMeter())


def told_chat() -> tuple[ChatMessage, ChatMessage]:
    """Return a prompt, and an answer that calls the tool."""
    asked = chats.prompt("Read my notes.")
    return asked, chats.answer("I look.", TOLD, parent=asked)


async def test_retrying_or_continuing_an_answer_of_a_file_runs_none_of_its_calls(store):
    asked, asking = told_chat()
    said = chats.answer("You want lettuce.", parent=asking)
    host, backend = ScriptedHost(), ScriptedBackend(answer_steps("Leeks."), answer_steps(" then."))
    conversation = await reopened(store, backend, asked, asking, said)
    await read(conversation.regenerate(said.message_id, settings_with(toolbox(host))))
    told = [Role.USER, Role.ASSISTANT, Role.ASSISTANT]
    assert [one.role for one in conversation.messages] == told
    assert conversation.messages[-1].text == "Leeks."
    for state in (AnswerState.STOPPED, AnswerState.INTERRUPTED):
        asked = chats.prompt("Read my notes.")
        cut = chats.answer("I look", TOLD, parent=asked, state=state)
        backend.scripts = [answer_steps(" into it.")]
        conversation = await reopened(store, backend, asked, cut)
        await read(conversation.resume(cut.message_id, settings_with(toolbox(host))))
        assert conversation.messages[-1].text == "I look into it."
    assert host.calls == []


async def test_only_the_call_that_is_repeated_runs_and_the_results_beside_it_are_kept(store):
    def fails_once(arguments):
        path = arguments["path"]
        is_refused = path == "b" and [call["path"] for _, call in host.calls].count("b") == 1
        return ToolResult(text=f"text of {path}", is_error=is_refused)

    host = ScriptedHost(read_text=fails_once)
    three = calls(*((_READ, {"path": path}) for path in "abc"))
    scripts = (three, answer_steps("Two."), answer_steps("Three."))
    conversation, backend, _ = await sent(store, toolbox(host), *scripts)
    failed = next(one for one in conversation.messages if one.state is AnswerState.FAILED)
    host.calls.clear()
    host.tools = {"read_text": read_text}
    await read(conversation.regenerate(failed.message_id, settings_with(toolbox(host))))
    assert [call["path"] for _, call in host.calls] == ["b"]
    assert [result for _, result in results(conversation)] == [
        "text of a",
        "text of b",
        "text of c",
    ]
    texts = [one.sent_text for one in backend.requests[-1].messages if one.role is Role.TOOL]
    assert texts == ["text of a", "text of b", "text of c"]
    assert await on_disk(store, conversation) == conversation.messages


FILES = McpSettings(name="files", command="notes-server", args=("--folder", "/notes"))


async def refused(conversation, box) -> list[ApprovalAsked]:
    """Send a prompt; return the questions, which are answered with no."""
    asked = []
    async with aclosing(conversation.send("Read", settings_with(box))) as events:
        async for event in events:
            if isinstance(event, ApprovalAsked):
                asked.append(event)
                event.decision.set_result(Decision(choice=Choice.NO))
    return asked


async def asked_about(box, store) -> list[ApprovalAsked]:
    """Let the model call the tool once; return the questions, which are refused."""
    return await refused(begin(ScriptedBackend(READ_A, answer_steps()), store), box)


def box_with(allowed=None, *, server=FILES, host=None, **settings) -> Toolbox:
    asking = ToolSettings(approve="ask", **settings)
    return Toolbox(host or ScriptedHost(), asking, (server,), allowed or {})


async def test_always_holds_for_the_same_server_and_tool_in_the_next_run(store):
    (first,) = await asked_about(box_with(), store)
    assert await asked_about(box_with({first.name: first.fingerprint}), store) == []
    moved = replace(FILES, env={"TOKEN": "new"})
    (before,) = await asked_about(box_with(server=replace(FILES, env={"TOKEN": "old"})), store)
    assert await asked_about(box_with({before.name: before.fingerprint}, server=moved), store) == []


async def test_another_server_of_the_same_name_is_asked_about_again_with_the_reason(store):
    (first,) = await asked_about(box_with(), store)
    for change in (
        {"command": "other-server"},
        {"args": ("--folder", "/")},
        {"cwd": "/srv"},
        {"command": "", "args": (), "url": "http://127.0.0.1:9/mcp"},
        {"env": {"PYTHONPATH": "/evil"}},
        {"headers_env": {"Authorization": "OTHER"}},
    ):
        box = box_with({first.name: first.fingerprint}, server=replace(FILES, **change))
        (again,) = await asked_about(box, store)
        words = "files/read_text is not what you always allowed: its server, "
        assert again.note.startswith(words), change


async def test_a_tool_that_has_changed_is_asked_about_again(store):
    for choice, name, value in (
        (Choice.SESSION, "schema", {"type": "object"}),
        (Choice.ALWAYS, "description", "Send it away."),
    ):
        host = ScriptedHost()
        box = box_with(host=host)
        conversation = begin(ScriptedBackend(*[READ_A, answer_steps()] * 2), store)
        box.decide(conversation.header.session_id, box.tools[0], choice)
        await read(conversation.send("Read", settings_with(box)))
        assert results(conversation) == [(AnswerState.COMPLETE, "text of a")]
        setattr(host, name, value)
        (asked,) = await refused(conversation, box)
        assert bool(asked.note) is (choice is Choice.ALWAYS)


async def test_a_rule_of_the_configuration_wins_over_an_earlier_always(store):
    (first,) = await asked_about(box_with(), store)
    allowed = {first.name: first.fingerprint}
    for name in ("files/read_text", "files"):
        box = box_with(allowed, approval={name: "ask"})
        (asked,) = await asked_about(box, store)
        assert asked.note.startswith("config.toml asks about files/read_text each time")
        assert asked.fingerprint == ""
        box.decide("here", box.tools[0], Choice.ALWAYS)
        assert box.approval("here", box.tools[0]) is Approval.ALWAYS
        assert box.approval("elsewhere", box.tools[0]) is Approval.ASK
    of_server = box_with(allowed, server=replace(FILES, approve="ask"))
    assert len(await asked_about(of_server, store)) == 1
