from __future__ import annotations

import asyncio
from unittest.mock import Mock, patch

from textual import events

from lmchat.base.errors import (
    ServerRejected,
)
from lmchat.core.config.settings import ChatSettings
from lmchat.core.servers.events import (
    RequestAdapted,
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.core.sessions.message import AnswerState
from lmchat.core.sessions.prompts import PendingPrompt
from tests.support.desktop import calm, gone, ready_desktop, sent, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps, half, model, probed

SMALL = [probed("", model(context_loaded=300))]
UNCOUNTED = [TextDelta(text="word " * 90), StreamFinished(reason="stop")]


async def test_what_a_server_says_is_only_text_and_its_troubles_are_told(tmp_path):
    note = "LM Studio is unknown to take \x1b[31m a seed. It is not sent."
    end = StreamFinished(reason="stop")
    backend = ScriptedBackend(
        answer_steps("[bold]x[/] [@click=app.quit]y[/]"),
        [
            RequestSent(),
            RequestAdapted(note=note),
            TextDelta(text=" ".join(map(str, range(1500)))),
            end,
        ],
        [TextDelta(text="Yes."), UsageReported(prompt_tokens=200, completion_tokens=2), end],
        results=[probed("", model("[red]qwen[/]"))],
    )
    async with ready_desktop(tmp_path, asked=["one"], backend=backend) as desk:
        await shown(desk, "[bold]x[/]", "[red]qwen[/]")
        desk.dispatcher.ui.show_error(ServerRejected("[bold]no[/", kind="x"))
        await shown(desk, "[bold]no[/")
        desk.app.passing = None
        await desk.ask("two", 2)
        await desk.until(lambda: desk.app.passing is not None, "the note")
        told = desk.app.passing.text
        assert "It is not sent" in told
        assert "\x1b" not in told
        await desk.ask("three", 3)
        await shown(desk, "tokens, of which 200 were read")  # as the server has counted


async def test_a_note_about_a_long_prompt_does_not_lie_over_the_card_of_its_refusal(tmp_path):
    gate = asyncio.Event()
    refusal = ServerRejected("The prompt needs 900 tokens.", kind="context_overflow")
    backend = ScriptedBackend([RequestSent(), gate, refusal], results=SMALL)
    async with ready_desktop(tmp_path, backend=backend) as desk:
        desk.prompt_input.put("many words " * 850)
        await desk.press("enter")
        await shown(desk, "The prompt has about")
        gate.set()
        await desk.at_rest()  # long before the note would go
        assert "× The prompt needs 900 tokens." in desk.text
        assert "/edit" in desk.text
        assert "The prompt has about" not in desk.text
        # neither the answer nor the prompt offers to send the same again
        for key in ("alt+up", "alt+up"):
            await desk.press(key, sees="e edit prompt  f fork")
            assert "r retry" not in desk.text


async def test_what_would_be_left_out_is_marked_before_it_is_sent(tmp_path):
    backend = ScriptedBackend(UNCOUNTED, UNCOUNTED, UNCOUNTED, results=SMALL)
    async with ready_desktop(tmp_path, asked=["one"], backend=backend) as desk:
        assert "left out" not in desk.text
        desk.prompt_input.put("many words " * 85)
        await shown(desk, "left out", "100 %")  # the window is full, whatever was counted
        assert len(backend.requests) == 1
        desk.prompt_input.put("")
        await gone(desk, "left out")
        # an edited prompt takes the place of its message and all behind it
        await desk.ask("two", 2)
        await desk.ask("three", 3)
        await desk.ask("four", 4)
        desk.prompt_input.put("many words " * 148)
        await desk.at_rest()
        assert "100 %" in desk.text
        desk.prompt_input.put("")
        desk.app.passing = None
        await desk.press(*["alt+up"] * 8, "e", sees="Esc cancel edit", hides="left out")
        await shown(desk, " 0 %")
        await desk.press("escape", "end", "alt+up", "alt+up", "e", sees="left out")


async def test_a_full_window_is_refused_where_the_user_wants_that_and_prompts_return(tmp_path):
    gate = asyncio.Event()
    settings = calm(chat=ChatSettings(auto_truncate=False))
    backend = ScriptedBackend(half("word " * 112, gate), results=SMALL)
    async with ready_desktop(tmp_path, backend=backend, settings=settings) as desk:
        await desk.say("one", sees="word")
        desk.dispatcher.controllers.turn_view.submit(PendingPrompt(draft="many words " * 55))
        desk.dispatcher.controllers.turn_view.submit(PendingPrompt(draft="two"))
        await desk.press("x")
        gate.set()
        await shown(desk, "tokens")
        assert desk.prompt_input.text == "many words " * 55 + "\n\ntwo\n\nx"
        assert sent(backend) == ["one"]
        assert len(await desk.on_disk()) == 2


async def test_a_long_answer_rings_unless_the_terminal_has_told_that_it_has_the_focus(tmp_path):
    gates = [asyncio.Event() for _ in range(4)]
    now_s = [0.0]
    answers = [half("Let", gate, "tuce.") for gate in gates]
    async with ready_desktop(tmp_path, *answers, clock=lambda: now_s[0]) as desk:
        written = []
        desk.workspace.platform.notification = lambda words: written.append(words) or ""
        for count, (report, wait_s, rings) in enumerate(
            (
                (None, 11.0, 1),
                (events.AppBlur(), 11.0, 2),
                (events.AppFocus(), 11.0, 2),
                (events.AppBlur(), 1.0, 2),
            ),
            1,
        ):
            await desk.say("one")
            await desk.until(lambda: desk.active.is_running, "an answer")
            if report is not None:
                desk.app.post_message(report)
            now_s[0] += wait_s
            gates[count - 1].set()
            await desk.answered(count)
            assert len(written) == rings


async def test_a_bug_in_showing_an_answer_is_reported_once_and_the_chat_continues(
    tmp_path, internal_errors
):
    gate = asyncio.Event()
    second = asyncio.Event()
    answers = half("Alpha", gate, " Beta."), [RequestSent(), second, *answer_steps("Gamma.")]
    async with ready_desktop(tmp_path, *answers) as desk:
        broken = Mock(side_effect=ZeroDivisionError)
        with patch.multiple(desk.log_view, apply=broken, end_answer=broken):
            await desk.say("one")
            await shown(desk, "internal error (id")
            await desk.say("two", sees="next  two")
            gate.set()
            await desk.until(lambda: broken.call_count > 2, "the end of the answer")
        second.set()
        await desk.answered(2)
        assert await desk.texts_on_disk() == ["one", "Alpha Beta.", "two", "Gamma."]
        assert desk.active.messages[1].state is AnswerState.COMPLETE
        await shown(desk, "Gamma.")
    assert len(internal_errors) == 1
    internal_errors.clear()
