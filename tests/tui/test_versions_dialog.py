from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, Receipt, Role
from lmchat.errors import ServerUnavailable
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.versions_dialog import VersionPane, VersionsDialog
from lmchat.tui.widgets.chat_log import ChatLog
from tests.support.desktop import half, ready_desktop
from tests.support.saved_chat import PLAN, SIZES, TALK, said, seen, steps
from tests.support.scripted_backend import answer_steps
from tests.support.tui_host import text_of

LONG = "\n\n".join(f"Paragraph {number}." for number in range(60))
OLDER = replace(
    TALK[1], message_id="old", model="gemma-3-4b", receipt=Receipt(finish_reason="length")
)
NEWER = replace(said(2, Role.ASSISTANT, PLAN.replace("Several", "Few")), message_id="new")


def texts(desk) -> list[str]:
    return [text_of(log) for log in desk.app.screen.query(ChatLog)]


def heads(desk) -> list[str]:
    return [
        text_of(pane.query(".heading").first()).strip()
        for pane in desk.app.screen.query(VersionPane)
    ]


def keys(desk) -> str:
    return text_of(desk.app.screen.query_one("#dialog-keys"))


def tops(desk) -> list[int]:
    return [log.viewport.top for log in desk.app.screen.query(ChatLog)]


async def regenerated(desk, count: int) -> None:
    """Answer so many times more."""
    for version in range(2, count + 2):
        await desk.press("ctrl+r", sees=f"{version}/{version}")
        await desk.answered()


async def compare(desk) -> None:
    await desk.press("alt+up", "=", leads_to=VersionsDialog, sees="Version 1 of")


async def test_the_current_version_is_shown_beside_the_one_before_it_and_another_can_be_kept(
    tmp_path,
):
    scripts = [answer_steps(text) for text in ("Alpha.", "**Beta**.", "Gamma.")]
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await regenerated(desk, 2)
        await desk.press("alt+up", "=", leads_to=VersionsDialog, sees="Beta.")
        assert heads(desk) == ["Version 3 of 3 · qwen3-8b", "Version 2 of 3 · qwen3-8b"]
        assert desk.text.count("42.3 tok/s · 1 tok") == 2
        assert "keep version 3 (left)" in keys(desk)
        await desk.press("right", sees="Version 1 of 3")
        await desk.press("right", sees="Version 2 of 3")  # past the one on the left
        await desk.press("left", sees="Version 1 of 3")
        await desk.press("tab")
        assert "keep version 1 (right)" in keys(desk)
        await desk.press("enter", leads_to=ChatScreen, sees="1/3")
        assert await desk.texts_on_disk() == ["one", "Alpha."]
        assert desk.log_view.focused_message.text == "Alpha."


async def test_leaving_and_keeping_the_left_change_nothing(tmp_path):
    scripts = answer_steps("Alpha.", thought="Hm."), answer_steps("Beta.")
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await regenerated(desk, 1)
        for key in ("escape", "enter"):
            await compare(desk)
            assert "change right" not in keys(desk)  # there is no third one
            await desk.press("right", key, leads_to=ChatScreen)
            assert await desk.texts_on_disk() == ["one", "Beta."]
            assert desk.log_view.focused_message.text == "Beta."
            await desk.press("escape")
        await compare(desk)
        await desk.press("tab", "space", sees="Hm.")
        await desk.press("y")
        await desk.until(lambda: desk.copied == ["Alpha."], "the copy")


async def test_both_sides_scroll_and_keep_their_place_when_the_layout_changes(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps(LONG), answer_steps(LONG), asked=["one"], size=(100, 30)
    ) as desk:
        await regenerated(desk, 1)
        await compare(desk)
        assert tops(desk) == [0, 0]
        await desk.press("pagedown")
        left = tops(desk)[0]
        assert left > 0 == tops(desk)[1]
        await desk.press("tab", "down", "down")
        assert tops(desk) == [left, 2]
        await desk.pilot.resize_terminal(99, 24)
        await desk.until(lambda: "keep version 1 (bottom)" in keys(desk), "one above the other")
        first, second = desk.app.screen.query(VersionPane)
        assert first.region.bottom <= second.region.y
        assert tops(desk) == [left, 2]


async def test_a_version_that_streams_is_followed_although_another_one_is_shown(tmp_path):
    gate = asyncio.Event()
    scripts = answer_steps("Alpha."), half("Be", gate, "ta.")
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await desk.press("ctrl+r", sees="Be")
        await desk.press("alt+up", "left_square_bracket", sees="Alpha.")
        await desk.press("=", leads_to=VersionsDialog, sees="streaming")
        await desk.until(lambda: "Be" in texts(desk)[1], "what has come")
        gate.set()
        await desk.until(lambda: "Beta." in texts(desk)[1], "the rest")
        await desk.until(lambda: "streaming" not in desk.text, "its figures")
        await desk.answered()
        await desk.press("tab", "enter", leads_to=ChatScreen, sees="2/2")
        assert await desk.texts_on_disk() == ["one", "Beta."]


async def test_versions_of_prompts_and_those_without_a_text_are_shown_too(tmp_path):
    broken = [ServerUnavailable("The server is away.")]
    async with ready_desktop(tmp_path, answer_steps("Alpha."), broken, asked=["one"]) as desk:
        await desk.press("ctrl+r", sees="The server is away.")
        await compare(desk)
        assert "The server is away." in texts(desk)[0]
        assert AnswerState.FAILED.value in desk.text
        desk.backend.scripts.append(answer_steps("Beta."))
        await desk.press("escape", "alt+up", "e", "!", "enter", sees="Beta.")
        await desk.answered()
        await desk.press("alt+up")
        await compare(desk)
        assert heads(desk) == ["Version 2 of 2", "Version 1 of 2"]
        assert ["one!" in text for text in texts(desk)] == [True, False]


@pytest.mark.parametrize("size", ["80x24"])
def test_two_versions(snap_compare, tmp_path, size):
    desk = seen(tmp_path, TALK[0], OLDER, NEWER)
    see = steps(desk, "Version 1 of 2", "alt+up", "=")
    assert snap_compare(desk.app, terminal_size=SIZES[size], run_before=see)
