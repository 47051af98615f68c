"""Tool calls on the screen: rows, the card that asks, the list of tools."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.tools_dialog import ToolsDialog
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.core.servers.events import RequestSent, TextDelta
from lmchat.core.servers.model import LoadState
from lmchat.core.sessions.message import AnswerState, Role, TextPart, ToolCallPart, ToolResultPart
from lmchat.core.tools.calls import ToolResult
from tests.support.desktop import click, ready_desktop, shown
from tests.support.saved_chat import TALK, said, seen, steps
from tests.support.scripted_backend import ScriptedBackend, answer_steps, hold, model, probed
from tests.support.scripted_tools import ScriptedHost, calls, toolbox

READ = "files__read_text"
ASKS = "wants to run"


@asynccontextmanager
async def desk_with(tmp_path, *scripts, result="found it", approve="ask", **more):
    """The app with tools; the model plays the scripts, then answers."""
    host = ScriptedHost(read_text=result if callable(result) else lambda _: ToolResult(text=result))
    models = [probed("", model(tools=True))]
    backend = ScriptedBackend(*scripts, answer_steps("Done reading."), results=models)
    tools = toolbox(host, approve=approve)
    async with ready_desktop(tmp_path, backend=backend, toolbox=tools, **more) as desk:
        desk.host = host
        yield desk


def call(path: str = "a.md"):
    return calls((READ, {"path": path}))


def results(desk) -> list[tuple[AnswerState, str]]:
    return [(one.state, one.tool_result) for one in desk.active.messages if one.role is Role.TOOL]


async def asks(desk, path: str = "a.md") -> None:
    """Wait until the card of the call with this path is on the screen."""

    def is_asked() -> bool:
        question = desk.active.question
        return question is not None and path in question.message.tool_calls[0].arguments

    await desk.until(is_asked, f"a question about {path}")
    await shown(desk, ASKS)


async def card(desk, text: str = "read", path: str = "a.md") -> None:
    """Ask, and wait for the card."""
    await desk.say(text)
    await asks(desk, path)


async def test_calls_are_rows_that_unfold_and_their_results_are_copied_paged_and_found(tmp_path):
    found = json.dumps({"found": [1, "needle"]})
    first = [
        RequestSent(),
        TextDelta(text="I look."),
        *calls((READ, {"path": "a.md"}), (READ, "[3]"))[1:],
    ]
    async with desk_with(tmp_path, first, result=found, approve="always") as desk:
        await desk.ask("read", 2)
        await shown(desk, "Done reading.", '+ files/read_text("a.md")  ', "24 B", "1 step")
        assert "calls the tool" not in desk.text

        await desk.press("alt+up", "alt+up", "alt+up", "enter", sees='- files/read_text("a.md")')
        await shown(desk, '"found": [')
        await desk.press(
            "y", "o", "alt+up", "e", "r", sees="Only calls that failed or were stopped"
        )
        assert (desk.copied, desk.paged) == ([found], [found])
        await desk.press("enter", hides='"found": [')
        desk.app.passing = None  # the count of hits is beside it
        await desk.press("ctrl+f", *"needle", "enter", sees='"found": [')
        await shown(desk, "1/1")


def allowed(desk) -> dict[str, str]:
    return desk.chat.turn_options.toolbox.allowed


async def test_a_decision_returns_to_the_end_unless_the_user_has_scrolled(tmp_path):
    long_text = TextDelta(text="A long line.\n\n" * 40)
    first = {"path": "a.md", "rows": list(range(60))}
    two_calls = calls((READ, first), (READ, {"path": "b.md"}))
    scripts = ([RequestSent(), long_text, *two_calls[1:]], answer_steps("So far."), call("c"))
    async with desk_with(tmp_path, *scripts) as desk:
        log = desk.log_view
        viewport = desk.log_view.viewport
        await card(desk)
        assert not viewport.is_following  # the card is higher than the screen
        await desk.press("f7")
        await asks(desk, "b.md")
        await desk.press("f7", sees="So far.")
        assert viewport.is_following

        await card(desk, "again", "c")
        log.scroll_to(y=viewport.top - 4)
        await desk.until(lambda: not viewport.is_following, "a log that was scrolled")
        top = viewport.top
        await click(desk, "F7 once")
        await desk.answered(7)
        assert (viewport.top, viewport.is_following) == (top, False)


async def test_a_refusal_has_a_reason_if_one_is_typed_and_esc_goes_back_to_the_card(tmp_path):
    refused = "The user refused this call."
    async with desk_with(tmp_path, call(), call("b.md")) as desk:
        await card(desk)
        await desk.press("f6", leads_to=AskDialog)
        await desk.press("escape")
        assert results(desk) == [(AnswerState.STREAMING, "")]
        await desk.press("f6", leads_to=AskDialog)
        await desk.press("enter")
        await desk.until(lambda: results(desk)[0] == (AnswerState.STOPPED, refused), "a refusal")
        await asks(desk, "b.md")
        await desk.press("f6", leads_to=AskDialog)
        await desk.say("not that file")
        await desk.answered(4)
        assert results(desk)[1] == (AnswerState.STOPPED, f"{refused} Reason: not that file")
        assert desk.host.calls == []


SENTENCES = ("yes, please", "so be it", "also the south bed", "no, wait", "always")


@pytest.mark.parametrize("before", ["", "typing"])
async def test_a_sentence_never_answers_the_card(tmp_path, before):
    gate = asyncio.Event()
    async with desk_with(tmp_path, [gate, *call()]) as desk:
        await desk.say("read")
        for number, sentence in enumerate(SENTENCES):
            await desk.type(before)
            gate.set()
            if number or before != "typing":
                await asks(desk)
            await desk.type(sentence)
            await desk.prompt_is(before + sentence)
            desk.prompt_input.put("")
        await asks(desk)
        await desk.paste("yes")
        await desk.prompt_is("yes")
        await desk.press("alt+up", "y", "enter")  # the log takes letters, but no answers
        await desk.until(lambda: desk.copied, "a copy of the call")
        assert desk.active.question is not None
        assert (desk.host.calls, allowed(desk)) == ([], {})
        assert desk.prompt_input.text == "yes"


async def test_a_key_answers_the_card_from_wherever_it_is_seen(tmp_path):
    scripts = [calls(*((READ, {"path": name}) for name in "ab")), *map(call, "cde")]
    async with desk_with(tmp_path, *scripts, size=(80, 24)) as desk:
        await card(desk, path="a")
        await shown(desk, "F7 once  F8 this session  F9 always")
        await desk.type("a draft")
        await desk.type(["f7", "f9", "f7"])  # the others are not for the next card
        await asks(desk, "b")
        await desk.press("alt+up", "f7")
        await asks(desk, "c")

        await desk.press("ctrl+b", "f7")  # the list lies over the card
        assert not desk.chat_screen.has_class("-sessions-over")
        assert len(desk.host.calls) == 2
        await desk.press("ctrl+p", "f7", "escape", "f1", "f7", "escape")  # and a dialog
        assert len(desk.host.calls) == 2
        await desk.press("f7")
        await asks(desk, "d")
        await desk.press("ctrl+p", *"run the tool once", "enter")
        await asks(desk, "e")
        assert desk.prompt_input.text == "a draft"
        await desk.press("f8", sees="Done reading.")
        await desk.press("f7", sees="No tool asks now.")
        assert not allowed(desk)
        desk.prompt_input.put("")
        await desk.say("/tools", sees="in this session")
        assert [path for _, path in desk.host.calls] == [{"path": name} for name in "abcde"]


async def test_a_key_for_a_card_that_is_not_on_the_screen_only_shows_it(tmp_path):
    long_text = TextDelta(text="A long line.\n\n" * 40)
    async with desk_with(tmp_path, [RequestSent(), long_text, *call()[1:]]) as desk:
        await card(desk)
        for away in ("home", "pageup"):
            await desk.press(away, hides=ASKS)
            await desk.press("f9", sees=ASKS)
            assert desk.host.calls == []
        await desk.press("f9", sees="Done reading.")
        assert list(allowed(desk)) == ["files/read_text"]


async def test_tab_in_an_empty_prompt_leads_to_the_answers_of_which_the_first_is_no(tmp_path):
    async with desk_with(tmp_path, call("a"), call("b"), call("c")) as desk:
        await card(desk, path="a")
        await desk.press("right", "enter")  # nothing is chosen yet
        assert desk.active.question is not None
        await desk.press("tab", "enter", leads_to=AskDialog)
        await desk.press("escape", "tab", "right", "right", sees="Enter this session  ← → choose")
        await desk.press(*"also", "backspace", "backspace", "backspace", "backspace", "enter")
        await desk.prompt_is("")
        assert desk.host.calls == []
        await desk.press("tab", "left", "right", "enter")
        await asks(desk, "b")
        assert [path for _, path in desk.host.calls] == [{"path": "a"}]
        await desk.press("enter", "right", "enter")  # the next card has no choice yet
        await desk.press("tab", "right", "alt+up", "enter")
        assert len(desk.host.calls) == 1
        await desk.press("escape", "escape")
        await desk.at_rest()
        assert desk.prompt_input.text == ""
        assert allowed(desk) == {}


async def test_esc_stops_in_every_phase_and_a_stopped_call_is_run_again(tmp_path):
    async def stop(count: int) -> None:
        assert "Esc stop" in desk.text
        await desk.press("escape")
        await desk.at_rest()
        await shown(desk, "stopped")
        assert isinstance(desk.app.focused, PromptInput)
        assert results(desk) == [(AnswerState.STOPPED, "")] * count

    half = [RequestSent(), TextDelta(text="Let me"), asyncio.Event(), *call()]
    async with desk_with(tmp_path, half, call(), result=lambda _: asyncio.Event()) as desk:
        desk.host.is_starting = True
        await desk.say("read", sees="starting files")
        await stop(0)
        desk.host.is_starting = False
        await desk.say("read", sees="Let me")
        await stop(0)
        await card(desk)
        await stop(1)
        assert (await desk.on_disk())[-1].state is AnswerState.STOPPED
        await desk.press("alt+up", sees="r run again  f fork")  # in the row of keys
        await desk.press("r")
        await asks(desk)
        desk.host.says = "page 3 of 9"
        await desk.press("f7", sees=": page 3 of 9")
        await stop(1)
        assert desk.host.cancelled == ["read_text"]
        await shown(desk, "‹2/2›")
        desk.host.tools = {"read_text": lambda _: ToolResult(text="found it")}
        await desk.press("alt+up", "r")
        await asks(desk)
        await desk.press("f7")
        await desk.answered(3)
        assert results(desk) == [(AnswerState.COMPLETE, "found it")]


async def test_a_tool_that_waits_in_another_session_is_reported_and_asks_there(tmp_path):
    gate = asyncio.Event()
    async with desk_with(tmp_path, [gate, *call()]) as desk:
        await desk.say("read my notes")
        await desk.until(lambda: desk.chat.open_sessions.running_ids, "the turn")
        waiting_id = desk.session_id
        await desk.press("ctrl+n")
        gate.set()
        await shown(desk, "files/read_text waits for you in the session “read my notes”.")
        await desk.until(
            lambda: re.search(r"! asks \d\d:\d\d", desk.text),
            "a mark in the list",
        )
        desk.dispatcher.controllers.session_view.switch_to(waiting_id)
        await asks(desk)
        assert desk.host.calls == []
        await desk.press("f7")
        await desk.answered(2)
        assert results(desk) == [(AnswerState.COMPLETE, "found it")]


async def test_a_tool_server_that_cannot_start_is_told_with_the_first_prompt(tmp_path):
    host = ScriptedHost()
    host.error = "files cannot start: the MCP SDK is not installed."
    results = [probed("", model(tools=True))]
    backend = ScriptedBackend(*[answer_steps("No tools.")] * 2, results=results)
    async with ready_desktop(tmp_path, backend=backend, toolbox=toolbox(host)) as desk:
        assert host.error not in desk.text
        await desk.say("Which herbs?", sees=f"! {host.error} /tools shows more.")
        await shown(desk, "No tools.")
        desk.app.notify("")
        await desk.ask("And fruit?", 2)
        assert host.error not in desk.text


async def test_a_model_that_cannot_use_the_configured_tools_is_named_once(tmp_path):
    blind = model("blind", tools=False)
    able = model("able", tools=True)
    untold = model("untold")
    told = "cannot use tools; it answers without them."
    results = [probed("", able, blind, untold)]
    async with ready_desktop(
        tmp_path, backend=ScriptedBackend(results=results), toolbox=toolbox(ScriptedHost())
    ) as desk:
        await desk.say("/model able", sees="● able")
        assert told not in desk.text
        await desk.say("/model blind", sees=f"blind {told}")
        await desk.say("/tools", leads_to=ToolsDialog, sees="! blind cannot use tools.")
        await desk.press("escape")
        await desk.say("/model able", sees="● able")
        desk.app.passing = None
        await desk.say("/model blind", sees="● blind")
        assert told not in desk.text
        await desk.say("/model untold", sees="● untold")
        # some servers tell it of a loaded model
        desk.backend.results = (probed("", model("untold", tools=False)),)
        await desk.press("f5", sees=f"untold {told}")
        # a prompt that waits for the load is sent without tools, too
        desk.backend.results = (probed("", model("late", state=LoadState.NOT_LOADED)),)
        may_load = hold(desk.backend, "load_now")
        await desk.press("f5")
        await desk.say("/model late", sees="late is loading")
        await desk.say("Name a herb.", sees="next  Name a herb.")
        desk.backend.results = (probed("", model("late", tools=False)),)
        may_load.set()
        await desk.answered()
        assert desk.backend.requests[-1].tools == ()


async def test_tools_are_switched_off_for_this_session(tmp_path):
    async with desk_with(tmp_path, approve="always") as desk:
        await desk.say("/tools", leads_to=ToolsDialog, sees="1 of 1 tool on")
        await desk.press("down", "enter", sees="0 of 1 tool on")
        await desk.press("escape")
        await desk.ask("read")
        assert desk.backend.requests[0].tools == ()
        desk.host.error = "It has ended."
        await desk.say("/tools", leads_to=ToolsDialog, sees="It has ended.")
        await desk.press("down", "enter", sees="1 of 1 tool on")
        await desk.press("up", "enter", sees="0 of 1 tool on")
        assert len(re.findall(r"(?:files|read_text) .* off\b", desk.text)) == 2


def saved(number: int, path: str, result: str, state=AnswerState.COMPLETE):
    parts = (
        ToolCallPart(call_id=path, name="files/read_text", arguments=json.dumps({"path": path})),
    )
    message = said(
        number, Role.ASSISTANT, "", parts=(*parts, ToolResultPart(text=result)), state=state
    )
    return replace(message, role=Role.TOOL, stats=replace(message.stats, elapsed_ms=120))


ASKING = said(
    2,
    Role.ASSISTANT,
    "",
    parts=(
        TextPart(text="I look into your notes."),
        ToolCallPart(call_id="a", name=READ, arguments="{}"),
    ),
)
SAVED = (
    TALK[0],
    ASKING,
    saved(3, "notes.md", json.dumps({"title": "Beds", "rows": 3, "is_shady": True})),
    saved(4, "beds.md", "No such file: beds.md", AnswerState.FAILED),
    said(5, Role.ASSISTANT, "Three rows are in the shade."),
)
SIZES = {"120x40": (120, 40), "80x24": (80, 24)}


@pytest.mark.parametrize(
    ("size", "keys"),
    [("80x24", ()), ("120x40", ("alt+up", "alt+up", "alt+up", "enter"))],
    ids=["folded", "unfolded"],
)
def test_the_look_of_calls(snap_compare, tmp_path, size, keys):
    desk = seen(tmp_path, *SAVED)
    sees = "Beds" if keys else "Three rows are in the shade."
    assert snap_compare(desk.app, terminal_size=SIZES[size], run_before=steps(desk, sees, *keys))


@pytest.mark.parametrize("size", ["80x24"])
def test_the_look_of_the_card(snap_compare, tmp_path, size):
    files = {"path": "beds.md", "rows": list(range(12))}
    desk = seen(tmp_path, *TALK, script=calls((READ, files)))
    desk.backend.results = (probed("", model(tools=True)),)
    desk.chat.turn_options.toolbox = toolbox(approve="ask")
    assert snap_compare(desk.app, terminal_size=SIZES[size], run_before=steps(desk, ASKS, "ctrl+r"))
