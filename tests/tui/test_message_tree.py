from __future__ import annotations

from contextlib import asynccontextmanager

from lmchat.tui.dialogs.dialog import PickDialog
from lmchat.tui.dialogs.message_tree import message_tree
from tests.support.desktop import ready_desktop, shown
from tests.support.look_pictures import PATH, TREE
from tests.support.scripted_backend import answer_steps
from tests.support.tui_host import listing, screen_text, text_of


@asynccontextmanager
async def showing():
    tree = message_tree(TREE, PATH)
    async with listing(tree, lambda: None) as (app, pilot):
        yield tree, app, pilot


async def test_branches_stand_below_each_other_with_their_first_words():
    async with showing() as (tree, app, _):
        rows = text_of(tree.list).split("\n")
        assert [row[:60].rstrip() for row in rows[:7]] == [
            "▌Plan a garden on the north side of the house",
            "▌  └ Leaves first: lettuce, spinach and chard.",
            "▌    └ And in full shade?",
            "       └ Ferns, hostas and ivy.",
            "▌      └ Moss, and nothing else.",
            "     └ And in the sun?",
            "   └ Roots: carrots and beets.␛[2J",
        ]
        assert [row[60:].strip() for row in rows[:7]] == [
            "you · 1 message",
            "qwen3-8b · 1 message",
            "you · 1 message",
            "qwen3-8b · 1 message",
            "gemma-3-4b · 3 messages",
            "you · 2 messages",
            "gemma-3-4b · 1 message",
        ]
        assert "4 branches · 10 messages" in screen_text(app)
        assert tree.list.key == "moss"


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
