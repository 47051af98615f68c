from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.message import Receipt, Role
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.versions_dialog import VersionPane, VersionsDialog
from tests.support.desktop import ready_desktop
from tests.support.saved_chat import PLAN, SIZES, TALK, said, seen, steps
from tests.support.scripted_backend import answer_steps
from tests.support.tui_host import text_of

OLDER = replace(
    TALK[1], message_id="old", model="gemma-3-4b", receipt=Receipt(finish_reason="length")
)
NEWER = replace(said(2, Role.ASSISTANT, PLAN.replace("Several", "Few")), message_id="new")


def heads(desk) -> list[str]:
    return [
        text_of(pane.query(".heading").first()).strip()
        for pane in desk.app.screen.query(VersionPane)
    ]


def keys(desk) -> str:
    return text_of(desk.app.screen.query_one("#dialog-keys"))


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


@pytest.mark.parametrize("size", ["80x24"])
def test_two_versions(snap_compare, tmp_path, size):
    desk = seen(tmp_path, TALK[0], OLDER, NEWER)
    see = steps(desk, "Version 1 of 2", "alt+up", "=")
    assert snap_compare(desk.app, terminal_size=SIZES[size], run_before=see)
