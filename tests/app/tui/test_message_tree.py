from __future__ import annotations

from functools import partial

from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.app.tui.dialogs.message_tree import message_tree
from tests.support.chat_log_app import question
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps
from tests.support.tui_host import Host, drawn, screen_text


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


async def test_versions_of_a_prompt_that_differ_only_at_their_end_keep_it():
    root = question("Name a vegetable.")
    start = "Tell me all that you know about vegetables which grow in the shade, and "
    versions = [
        question(f"{start}{end}", parent_id=root.message_id, version=number, versions=2)
        for number, end in enumerate(("what they like", "when to sow them"), 1)
    ]
    tree = partial(message_tree, [root, *versions], ())
    async with drawn(Host(screen=tree), (80, 24)) as (app, _):
        text = screen_text(app)
        assert "what they like  you" in text
        assert "when to sow them  you" in text
        assert "Name a vegetable. " in text
