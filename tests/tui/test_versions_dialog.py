from __future__ import annotations

from lmchat.tui.dialogs.versions_dialog import VersionPane, VersionsDialog
from lmchat.tui.screen import ChatScreen
from tests.support.desktop import ready_desktop
from tests.support.scripted_backend import answer_steps
from tests.support.tui_host import text_of


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
