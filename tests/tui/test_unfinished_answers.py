"""What can be done about the last answer from the prompt, without giving it the focus."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.config.settings import ChatSettings
from lmchat.domain.event import (
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.errors import ServerUnavailable, StreamInterrupted
from lmchat.tui.screens.message_tree import MessageTree
from lmchat.tui.screens.text_dialog import LinksDialog
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.desktop import gone, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps

CUT = StreamInterrupted("The connection broke.")


def broken(*events) -> list:
    return [RequestSent(), *events, CUT]


async def test_an_empty_prompt_says_how_to_continue_an_unfinished_answer(tmp_path):
    scripts = (
        broken(TextDelta(text="Let")),
        answer_steps("tuce."),
        broken(TextDelta(text="Spin")),
        answer_steps("ach."),
    )
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await shown(desk, "/continue, ^R regenerate")
        await desk.type("a")
        await gone(desk, "/continue")
        await desk.press("backspace", sees="/continue")
        await desk.say("/continue", sees="Lettuce.")
        await desk.at_rest()
        await gone(desk, "/continue")
        assert desk.conversation.messages[-1].text == "Lettuce."
        await desk.say("two", sees="/continue  ^R regenerate")
        await desk.pilot.click(KeysRow, offset=(4, 0))
        await shown(desk, "Spinach.")


async def test_an_answer_that_failed_before_its_first_word_is_only_regenerated(tmp_path):
    backend = ScriptedBackend([ServerUnavailable("Nothing answers.")], answer_steps("There."))
    async with ready_desktop(tmp_path, asked=["one"], backend=backend) as desk:
        await shown(desk, "▌ ^R regenerate")
        assert "/continue" not in desk.text
        keys = desk.chat.query_one(KeysRow)
        await desk.press("alt+up")
        await desk.until(lambda: "edit" in str(keys.render()), "the keys of the answer")
        assert "continue" not in str(keys.render())
        await desk.press("escape")
        await desk.say("/continue", sees="There.")  # means the same then


async def test_an_answer_that_its_limit_cut_short_is_continued(tmp_path):
    cut = [
        TextDelta(text="Let"),
        UsageReported(completion_tokens=5),
        StreamFinished(reason="length"),
    ]
    rest = answer_steps("tuce.")
    async with ready_desktop(tmp_path, cut, rest, cut, rest) as desk:
        next_turn = desk.app.open_sessions.next_turn
        for max_tokens in (5, None):  # without one the server has a limit of its own
            next_turn.options = replace(next_turn.options, chat=ChatSettings(max_tokens=max_tokens))
            await desk.ask("one")
            await shown(desk, "▌ /continue, ^R regenerate")
            await desk.press("alt+up", "a", sees="Lettuce.")
            await desk.at_rest()
            await desk.press("ctrl+n", hides="Lettuce.")


async def test_slash_commands_act_on_the_last_answer(tmp_path):
    links = "See https://example.org/a and https://example.org/b."
    async with ready_desktop(
        tmp_path, answer_steps("Alpha."), answer_steps(links), asked=["one", "two"]
    ) as desk:
        await desk.say("/links", leads_to=LinksDialog, sees="https://example.org/b")
        await desk.press("escape")
        await desk.say("/tree", leads_to=MessageTree)
        await desk.press("escape")
        await desk.say("/delete")
        await gone(desk, "example.org")
        await shown(desk, "/undo restores it")
        assert isinstance(desk.app.focused, PromptInput)
        await desk.say("/undo", sees="example.org")
        await desk.say("/pager")
        await desk.until(lambda: desk.paged == [links], "the pager")
        await desk.say("/edit")
        await desk.prompt_is("two")


async def test_in_an_empty_session_each_says_that_nothing_was_said(desk):
    lines = (
        "/copy",
        "/copy code",
        "/retry",
        "/continue",
        "/edit",
        "/fork",
        "/delete",
        "/links",
        "/pager",
    )
    for line in lines:
        desk.app.clear_notifications()
        desk.prompt_input.put(line)
        await desk.press("enter", sees="This session is empty.")
    await desk.say("/undo", sees="Nothing to undo.")
    await desk.press("ctrl+r", sees="This session is empty.")
    assert desk.backend.requests == []
    assert desk.copied == []


async def test_a_prompt_without_an_answer_is_asked_again_from_the_prompt(tmp_path):
    scripts = [answer_steps(text) for text in ("Alpha.", "Beta.", "Gamma.")]
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await desk.say("/delete", hides="Alpha.")
        await shown(desk, "▌ ^R regenerate")
        await desk.say("/continue", sees="Only answers can be continued.")
        await desk.press("ctrl+r", sees="Beta.")
        await desk.at_rest()
        desk.prompt_input.put("")
        await desk.say("/regenerate", sees="Gamma.")  # an alias
