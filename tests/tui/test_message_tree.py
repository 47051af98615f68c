from __future__ import annotations

from lmchat.tui.dialogs.dialog import PickDialog
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps


async def test_the_branch_that_is_chosen_in_the_tree_is_shown_and_becomes_the_path(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Alpha."), answer_steps("Beta."), asked=["one"]
    ) as desk:
        await desk.press("ctrl+r", sees="Beta.")
        await desk.at_rest()
        for keys in (("up", "enter"), ("home", "enter")):  # the second is on the path already
            await desk.press("alt+up", "t", leads_to=PickDialog)
            tree = desk.app.screen
            await desk.until(lambda tree=tree: bool(tree.can_show and tree.list.key), "branches")
            await desk.press(*keys)
            await desk.until(lambda tree=tree: desk.app.screen is not tree, "the chat")
            await shown(desk, "Alpha.")
        assert await desk.texts_on_disk() == ["one", "Alpha."]
