"""Turns in which the model calls tools: what runs, what is asked, and what ends them."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid
from lmchat.core.chat.toolbox import Toolbox, ToolQuestion
from lmchat.core.config.settings import McpSettings, ToolSettings
from lmchat.core.servers.events import StreamFinished, TextDelta
from lmchat.core.sessions.message import AnswerState, Role, ToolCallPart
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.tools.calls import ApprovalScope, Decision, ToolResult
from tests.support import chats
from tests.support.chat_turns import ChatTurns
from tests.support.files_to_attach import image
from tests.support.programs import until
from tests.support.scripted_backend import answer_steps, target
from tests.support.scripted_tools import ScriptedHost, calls, not_saved, read_text, toolbox

_READ = "files__read_text"
READ_A = calls((_READ, {"path": "a"}))
BOTH = calls((_READ, {"path": "a"}), (_READ, {"path": "b"}))
NO = Decision(choice=ApprovalScope.NO)


def results(chat: ChatTurns) -> list[tuple[AnswerState, str]]:
    return [(one.state, one.tool_result) for one in chat.path if one.role is Role.TOOL]


async def sent(store, box, *scripts) -> ChatTurns:
    chat = ChatTurns(store, *scripts, box=box)
    await chat.send("Read")
    return chat


@pytest.mark.parametrize("images", [True, None, False], ids=["sees", "may see", "is blind"])
async def test_a_picture_of_a_tool_is_kept_and_goes_to_a_model_that_is_known_to_see(store, images):
    pictures = {"image-1.png": image(), "image-2.png": b"\x89PNG\r\n\x1a\n damaged"}
    pictures["image-3.png"] = b"no picture"
    host = ScriptedHost(read_text=lambda _: ToolResult(text="[image …]", images=pictures))
    seen = target(images=images)
    chat = ChatTurns(store, READ_A, answer_steps("A bed."), box=toolbox(host), target=seen)
    await chat.send("Read")
    [ran] = [message for message in await chat.on_disk() if message.role is Role.TOOL]
    [kept] = ran.files
    assert (kept.name, kept.media_type, ran.tool_result) == (
        "image-1.png",
        "image/png",
        "[image …]",
    )
    assert await store.files.read(kept.digest) == image()
    sent = chat.server.requests[1].files
    assert sent == {kept.digest: image() if images else b""}
    why = "cannot see" if images is False else "is not known to see"
    assert chat.notes == ([] if images else [f"1 picture is not sent: this model {why}."])


async def test_the_wait_for_tool_servers_is_a_stage_of_its_own_and_a_stop_ends_it(store):
    host = ScriptedHost()
    host.is_starting = True
    chat = ChatTurns(store, answer_steps("Read."), answer_steps("Read."), box=toolbox(host))
    sending = asyncio.create_task(chat.send("Read"))
    await host.asked.wait()
    assert chat.session.turn.stats.stage_label(0) == "starting files"
    chat.session.stop()
    await sending
    assert (chat.path[-1].state, chat.server.requests) == (AnswerState.STOPPED, [])
    host.asked.clear()
    sending = asyncio.create_task(chat.send("Read"))
    await host.asked.wait()
    host.started.set()
    await sending
    assert (chat.path[-1].text, host.starts) == ("Read.", 2)


HERMES = '<tool_call>\n{"name": "files__read_text", "arguments": {"path": "a"}}\n</tool_call>'
CODER = "<function=files__read_text>\n<parameter=path>\na\n</parameter>\n</function>"
MINIMAX = '<invoke name="files__read_text">\n<parameter name="path">a</parameter>\n</invoke>'
DEEPSEEK = "<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>"
SEPARATOR = "<\uff5ctool\u2581sep\uff5c>"
CALLS_AS_TEXT = {
    HERMES: "files/read_text",
    f"\n{HERMES}\n{HERMES}": "files/read_text",
    f"<tool_call>\n{CODER}\n</tool_call>": "files/read_text",
    f"{CODER}\n</tool_call>": "files/read_text",  # as in ollama/ollama#16686
    f"<minimax:tool_call>\n{MINIMAX}\n</minimax:tool_call>": "files/read_text",
    "<tool_call>weigh\n<arg_key>grams</arg_key>\n": "weigh",
    '[TOOL_CALLS][{"name": "weigh", "arguments": {"grams": 40}}]': "weigh",
    '[TOOL_CALLS]weigh[ARGS]{"grams": 40}': "weigh",
    '<|python_tag|>{"name": "weigh", "parameters": {"grams": 40}}': "weigh",
    f"{DEEPSEEK}function{SEPARATOR}weigh\n```json\n": "weigh",
    f"{DEEPSEEK}weigh{SEPARATOR}{{}}": "weigh",
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.weigh:0<|tool_call": "weigh",
    "<|tool_call>call:weigh{grams:40}<tool_call|>": "weigh",
    "[TOOL_CALLS] is a token of Mistral.": "",
    f"It writes:\n{HERMES}": "",
    f"```\n{HERMES}\n```": "",
    "<tool_call> is a tag of Hermes.": "",
    "<function=": "",
    '{"name": "files__read_text"}': "",
}


async def test_a_call_that_comes_as_text_is_noted_and_never_runs(store):
    for text, name in CALLS_AS_TEXT.items():
        host = ScriptedHost()
        chat = await sent(store, toolbox(host), answer_steps(text))
        assert (chat.path[-1].text, chat.path[-1].stats.call_as_text) == (text, name), text
        assert (host.calls, len(chat.server.requests)) == ([], 1)
        assert await chat.on_disk() == chat.path
    chat = ChatTurns(store, answer_steps(HERMES))
    await chat.send("Read")
    assert chat.path[-1].stats.call_as_text == "", "the model has no tools"


async def test_a_call_that_cannot_run_is_an_error_result_and_the_turn_continues(store):
    for call, result in (
        (("nothing", {}), f"There is no tool of this name. The tools are: {_READ}."),
        ((_READ, "{not json"), "The arguments are not a JSON object. Its fields are: path."),
        ((_READ, '["5"]'), "The arguments are not a JSON object. Its fields are: path."),
        ((_READ, ""), "The arguments are not a JSON object. Its fields are: path."),
        ((_READ, " \n"), "The arguments are not a JSON object. Its fields are: path."),
    ):
        host = ScriptedHost(read_text=read_text, hide=read_text)
        box = toolbox(host, approval={"files/hide": "never"})
        chat = await sent(store, box, calls(call), answer_steps("I see."))
        assert results(chat) == [(AnswerState.FAILED, result)]
        assert host.calls == []
        assert chat.path[-1].text == "I see."


async def test_a_call_that_the_limit_of_the_answer_has_cut_says_so(store):
    *started, _ = calls((_READ, '{"path": "no'), ("nothing", {}))
    steps = [*started, StreamFinished(reason="length")]
    chat = await sent(store, toolbox(ScriptedHost()), steps, answer_steps("I see."))
    assert [text for _, text in results(chat)] == [
        "The call was cut by the limit of the answer.",
        f"There is no tool of this name. The tools are: {_READ}.",
    ]


async def test_a_call_without_arguments_runs_where_the_tool_has_none(store):
    host = ScriptedHost(look=lambda _: ToolResult(text="green"))
    host.schema = {"type": "object"}
    both = calls(("files__look", ""), ("files__look", "[]"))
    chat = await sent(store, toolbox(host), both, answer_steps("Green."))
    no_object = "The arguments are not a JSON object. Its fields are: none."
    told = [(AnswerState.COMPLETE, "green"), (AnswerState.FAILED, no_object)]
    assert results(chat) == told
    assert host.calls == [("look", {})]


async def test_questions_come_one_by_one_before_any_call_runs_and_a_late_decision_does_nothing(
    store,
):
    host = ScriptedHost()
    chat = ChatTurns(store, BOTH, box=toolbox(host, approve="ask"))
    await chat.start("Read", ToolQuestion)
    assert len(chat.questions) == 1
    chat.decide(Decision(choice=ApprovalScope.ONCE))
    await until(lambda: len(chat.questions) == 2, "the second question")
    assert host.calls == []
    await chat.stop()
    chat.decide(Decision(choice=ApprovalScope.ONCE))
    await asyncio.sleep(0)
    assert host.calls == []
    assert chat.session.question is None
    assert results(chat) == [(AnswerState.STOPPED, "")] * 2


async def test_a_refusal_of_the_user_goes_to_the_model_with_its_reason(store):
    chat = ChatTurns(store, BOTH, answer_steps("So be it."), box=toolbox(approve="ask"))
    chat.decisions = [NO, replace(NO, reason="Too long.")]
    await chat.send("Read")
    assert results(chat) == [
        (AnswerState.STOPPED, "The user refused this call."),
        (AnswerState.STOPPED, "The user refused this call. Reason: Too long."),
    ]


async def test_a_call_that_has_ended_keeps_its_result_if_a_stop_comes_while_another_is_saved(store):
    never = asyncio.Event()
    host = ScriptedHost(read_text=lambda given: never if given["path"] == "c" else read_text(given))
    three = calls(*((_READ, {"path": path}) for path in "abc"))
    chat = ChatTurns(store, three, answer_steps("Read."), box=toolbox(host))
    may_save = asyncio.Event()
    is_saving = asyncio.Event()
    save = chat.sessions.save_queue.save

    async def save_later(header, *messages, **more):
        if any(one.tool_result for one in messages):
            is_saving.set()
            await may_save.wait()
        await save(header, *messages, **more)

    chat.sessions.save_queue.save = save_later
    chat.sessions.send(chat.session, PendingPrompt(draft="Read all"))
    await is_saving.wait()
    await until(lambda: len(host.calls) == 3, "the calls")
    chat.session.stop()
    may_save.set()
    await chat.session.wait_until_saved()
    ended = [(AnswerState.COMPLETE, "text of a"), (AnswerState.COMPLETE, "text of b")]
    assert results(chat) == [*ended, (AnswerState.STOPPED, "")]
    assert await chat.on_disk() == chat.path


async def test_a_loop_without_an_end_stops_with_a_message_and_can_go_on(store):
    same = 'The model made the same call 3 times in a row: files/read_text("a").'
    for paths, most, words, setting in (
        ("abc", 2, "The model called tools 2 times without an answer.", "max_steps"),
        ("aaa", 10, same, ""),  # more steps would not help
    ):
        scripts = [calls((_READ, {"path": path})) for path in paths]
        chat = await sent(store, toolbox(max_steps=most), *scripts, answer_steps("At last."))
        last = chat.path[-1]
        assert (last.state, last.failure.message) == (AnswerState.FAILED, words)
        assert ("max_steps" in last.failure.hint) is bool(setting)
        await chat.regenerate(last)
        assert chat.path[-1].text == "At last."


async def test_a_repeated_call_takes_the_results_beside_it_along_once(store):
    scripts = [BOTH, answer_steps("Read."), READ_A, answer_steps("Again.")]
    chat = await sent(store, toolbox(), *scripts)
    await chat.regenerate(chat.path[2])
    ran = [(one.tool_result, one.version) for one in chat.path if one.role is Role.TOOL]
    assert ran == [("text of a", 2), ("text of b", 1), ("text of a", 1)]


async def test_no_call_of_an_imported_or_continued_answer_runs(store):
    told = ToolCallPart(call_id="secret", name=_READ, arguments='{"path": "secret"}')
    host = ScriptedHost()
    chat = ChatTurns(store, answer_steps("Leeks."), box=toolbox(host))
    asked = chats.prompt("Read my notes.")
    asking = chats.answer("I look.", told, parent=asked)
    said = chats.answer("You want lettuce.", parent=asking)
    await chat.open_import(asked, asking, said)
    await chat.regenerate(said)
    assert [one.role for one in chat.path] == [Role.USER, Role.ASSISTANT, Role.ASSISTANT]
    assert chat.path[-1].text == "Leeks."
    asked = chats.prompt("Read my notes.")
    asking = chats.answer("I look.", told, parent=asked)
    ran = chats.tool_message("secret", parent=asking)
    await chat.open_import(asked, asking, ran)
    for box, words in (
        (toolbox(host), "came with an imported chat"),
        (None, "No tools are config"),
    ):
        chat.sessions.turn_options.toolbox = box
        with pytest.raises(RequestInvalid, match=words):
            await chat.regenerate(ran)
    for state in (AnswerState.STOPPED, AnswerState.INTERRUPTED):
        asked = chats.prompt("Read my notes.")
        cut = chats.answer("I look", told, parent=asked, state=state)
        chat.server.scripts = [answer_steps(" into it.")]
        await chat.open_import(asked, cut)
        await chat.continue_answer(cut)
        assert chat.path[-1].text == "I look into it."
    assert host.calls == []


async def test_while_a_turn_may_call_tools_no_branch_is_shown_and_no_system_prompt_added(store):
    script = [TextDelta(text="Let"), asyncio.Event()]
    for box, is_free in ((toolbox(), False), (None, True)):
        chat = ChatTurns(store, answer_steps("A."), script, box=box)
        await chat.send("one")
        await chat.start("two", TextDelta)
        acts = (
            chat.session.require_free_end,
            lambda chat=chat: chat.sessions.open_sessions.changing_path(chat.session.session_id),
        )
        for act in acts:
            if is_free:
                act()
            else:
                with pytest.raises(RequestInvalid, match="not ended"):
                    act()
        await chat.stop()


# What "always" holds for

FILES = McpSettings(name="files", command="notes-server", args=("--folder", "/notes"))


def box_with(allowed=None, *, server=FILES, host=None, save=not_saved, **settings) -> Toolbox:
    asking = ToolSettings(approve="ask", **settings)
    return Toolbox(host or ScriptedHost(), asking, (server,), allowed or {}, save)


async def asked_about(box, store) -> list[ToolQuestion]:
    """Let the model call the tool once; return the questions, which are refused."""
    chat = ChatTurns(store, READ_A, answer_steps(), box=box)
    chat.decisions = [NO]
    await chat.send("Read")
    return chat.questions


async def saved_always(**settings) -> dict[str, str]:
    """Allow the tool always; return what is saved of that."""
    saved: dict[str, str] = {}

    async def save(name: str, fingerprint: str) -> None:
        saved[name] = fingerprint

    box = box_with(save=save, **settings)
    await box.allow("here", box.tools[0], ApprovalScope.ALWAYS)
    assert box.approval("here", box.tools[0]) == "always"
    elsewhere = "always" if saved else "ask"
    assert box.approval("elsewhere", box.tools[0]) == elsewhere
    return saved


async def test_always_holds_for_the_same_server_and_tool_in_the_next_run(store):
    assert await asked_about(box_with(await saved_always()), store) == []
    keyed = replace(FILES, env={"TOKEN": "${TOKEN}"}, approve="", timeout_s=3)
    assert await asked_about(box_with(await saved_always(server=keyed), server=keyed), store) == []


async def test_another_server_of_the_same_name_is_asked_about_again_with_the_reason(store):
    saved = await saved_always()
    for change in (
        {"command": "other-server"},
        {"args": ("--folder", "/")},
        {"cwd": "/srv"},
        {"command": "", "args": (), "url": "http://127.0.0.1:9/mcp"},
        {"env": {"PYTHONPATH": "/evil"}},
        {"headers": {"Authorization": "${OTHER}"}},
    ):
        (again,) = await asked_about(box_with(saved, server=replace(FILES, **change)), store)
        words = "files/read_text is not what you always allowed: its server, "
        assert again.note.startswith(words), change


async def test_a_rule_of_the_configuration_wins_over_an_earlier_always(store):
    allowed = await saved_always()
    for name in ("files/read_text", "files"):
        box = box_with(allowed, approval={name: "ask"})
        (asked,) = await asked_about(box, store)
        assert asked.note == ""
        assert await saved_always(approval={name: "ask"}) == {}
    of_server = box_with(allowed, server=replace(FILES, approve="ask"))
    assert len(await asked_about(of_server, store)) == 1
