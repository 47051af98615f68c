from __future__ import annotations

from contextlib import asynccontextmanager
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, Role, text_message
from lmchat.errors import StoreUnavailable
from lmchat.tui.messages import ChangeBranch
from lmchat.tui.screens.ask_dialog import AskDialog
from lmchat.tui.screens.message_tree import MessageTree, TreeContent
from tests.support.desktop import ready_desktop, shown
from tests.support.look_data import NOW
from tests.support.scripted_backend import answer
from tests.support.tui_host import listing, screen_text, text_of


def said(message_id: str, text: str, parent_id: str | None = None, model: str = ""):
    role = Role.ASSISTANT if model else Role.USER
    made = text_message(role, text, parent_id=parent_id)
    return replace(made, message_id=message_id, model=model, created_at=NOW)


TREE = (
    said("plan", "Plan a garden on the north side of the house"),
    said("leaves", "Leaves first: lettuce, spinach and chard.", "plan", "qwen3-8b"),
    said("shade", "And in full shade?", "leaves"),
    said("ferns", "Ferns, hostas and ivy.", "shade", "qwen3-8b"),
    said("moss", "Moss, and nothing else.", "shade", "gemma-3-4b"),
    said("mow", "Does moss need mowing?", "moss"),
    said("never", "Never.", "mow", "gemma-3-4b"),
    said("sun", "And in the sun?", "leaves"),
    said("tomatoes", "Tomatoes.", "sun", "qwen3-8b"),
    said("roots", "Roots: carrots and beets.\x1b[2J", "plan", "gemma-3-4b"),
)
PATH = ("plan", "leaves", "shade", "moss", "mow", "never")
SHOWN = TreeContent(
    messages=TREE, path_ids=PATH, names={"roots": "the other\x1b[1m idea", "moss": "moss"}
)


class Asked:
    """A tree, and what it asked for."""

    def __init__(self) -> None:
        self.tree = MessageTree()

    @property
    def acts(self) -> list[tuple[str, str, str]]:
        wanted = self.app.of(ChangeBranch)
        return [(change.act, change.branch_id, change.name) for change in wanted]


@asynccontextmanager
async def asking(shown: TreeContent = SHOWN, **more):
    asked = Asked()
    async with listing(asked.tree, lambda: asked.tree.show(shown), **more) as (asked.app, pilot):
        yield asked, pilot


async def test_branches_stand_below_each_other_with_their_names_and_first_words():
    async with asking() as (asked, _):
        rows = text_of(asked.tree.list).split("\n")
        assert [row[:60].rstrip() for row in rows[:7]] == [
            "▌Plan a garden on the north side of the house",
            "▌  └ Leaves first: lettuce, spinach and chard.",
            "▌    └ And in full shade?",
            "       └ Ferns, hostas and ivy.",
            "▌      └ moss  Moss, and nothing else.",
            "     └ And in the sun?",
            "   └ the other␛[1m idea  Roots: carrots and beets.␛[2J",
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
        assert "4 branches · 10 messages" in screen_text(asked.app)
        assert asked.tree.chosen_id == "moss"


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        (("up",), "ferns"),
        (("down",), "sun"),
        (("home",), "plan"),
        (("end",), "roots"),
        (("pageup",), "plan"),
        (("pagedown",), "roots"),
        (("left",), "shade"),
        (("left", "left"), "leaves"),
        (("left", "left", "left", "left", "left"), "plan"),
        (("home", "right", "right", "right", "right"), "moss"),
        (("down", "left"), "leaves"),
        (("end", "right"), "roots"),
        (("home", "right", "down", "down", "down", "down"), "sun"),
    ],
)
async def test_keys_move_along_the_branches(keys, chosen):
    async with asking() as (asked, pilot):
        await pilot.press(*keys)
        assert asked.tree.chosen_id == chosen


@pytest.mark.parametrize(
    ("key", "name"), [("n", "name"), ("d", "delete"), ("delete", "delete"), ("u", "undo")]
)
async def test_letters_ask_for_what_shall_be_done(key, name):
    async with asking() as (asked, pilot):
        await pilot.press(key)
        assert asked.acts == [(name, "moss", "moss")]


async def test_enter_goes_to_the_branch_and_escape_nowhere():
    for key, result in (("enter", "moss"), ("escape", None)):
        async with asking() as (asked, pilot):
            await pilot.press(key)
            assert asked.app.results == [result]


async def test_of_an_empty_tree_only_the_last_deletion_can_be_undone():
    async with asking(TreeContent(), size=(40, 12)) as (asked, pilot):
        await pilot.press("enter", "n", "d", "left", "right", "home", "u")
        assert asked.acts == [("undo", "", "")]
        assert "This session is empty" in screen_text(asked.app)


async def test_a_branch_that_says_nothing_yet_tells_its_state():
    silent = replace(said("x", "", None, "qwen3-8b"), state=AnswerState.STREAMING)
    async with asking(TreeContent(messages=(silent,), path_ids=("x",))) as (asked, _):
        assert "(streaming)" in screen_text(asked.app)


async def test_behind_a_pruned_branch_what_it_went_off_from_is_chosen():
    async with asking() as (asked, pilot):
        pruned = tuple(one for one in TREE if one.message_id not in ("moss", "mow", "never"))
        asked.tree.show(replace(SHOWN, messages=pruned, path_ids=PATH[:3]))
        await pilot.pause()
        await pilot.pause()
        assert asked.tree.chosen_id == "shade"
        asked.tree.show(SHOWN)
        await pilot.pause()
        await pilot.pause()
        assert asked.tree.chosen_id == "shade"


async def test_in_ascii_no_other_sign_is_drawn():
    async with asking(is_ascii=True, size=(80, 24)) as (asked, _):
        assert text_of(asked.tree.list).replace("␛", "").isascii()


@pytest.fixture
async def desk(tmp_path):
    """The app with two answers to a prompt, and their tree, which was opened by its key."""
    async with ready_desktop(tmp_path, answer("Alpha."), answer("Beta."), asked=["one"]) as desk:
        await desk.press("ctrl+r", sees="Beta.")
        await desk.until(lambda: not desk.app.open_sessions.shown.is_busy, "rest")
        await desk.press("alt+up", "t", leads_to=MessageTree)
        tree = desk.app.screen
        await desk.until(lambda: bool(tree.can_show and tree.chosen_id), "its branches")
        yield desk


@pytest.fixture
def tree(desk):
    return desk.app.screen


def branches_of(tree) -> list[str]:
    return [row[:40].strip(" ▌└") for row in text_of(tree.list).split("\n") if row.strip()]


async def test_a_pruned_branch_is_gone_from_tree_and_chat_and_comes_back(desk, tree):
    assert branches_of(tree) == ["one", "Alpha.", "Beta."]
    assert "2 branches · 3 messages" in screen_text(desk.app)
    await desk.press("d")
    await desk.until(lambda: len(tree.list.rows) == 1, "the tree without it")
    assert [m.text for m in await desk.on_disk()] == ["one", "Alpha."]
    assert [m.text for m in desk.conversation.messages] == ["one", "Alpha."]
    await desk.press("u")
    await desk.until(lambda: len(tree.list.rows) == 3, "the tree with it")
    assert [m.text for m in await desk.on_disk()] == ["one", "Beta."]
    await desk.press("u", sees="Nothing to undo.")


async def test_a_whole_session_can_be_pruned_and_comes_back_from_the_same_tree(desk):
    await desk.press("home", "d", sees="This session is empty.")
    await desk.press("u", hides="This session is empty.")
    assert [m.text for m in await desk.on_disk()] == ["one", "Beta."]


async def test_a_branch_keeps_its_name_and_loses_it_when_it_is_empty(desk, tree):
    session_id, branch_id = desk.conversation.header.session_id, tree.chosen_id
    await desk.press("n", leads_to=AskDialog)
    await desk.type("the  better one")
    await desk.press("enter")
    await desk.until(lambda: tree.name_of(branch_id) == "the better one", "the name")
    await shown(desk, "the better one  Beta.")
    assert await desk.store.branch_names(session_id) == {branch_id: "the better one"}
    await desk.press("n", leads_to=AskDialog)
    await desk.press("escape")
    assert await desk.store.branch_names(session_id) == {branch_id: "the better one"}
    await desk.press("n", leads_to=AskDialog)
    await desk.press("ctrl+u", "enter")
    await desk.until(lambda: not tree.name_of(branch_id), "no name")
    assert await desk.store.branch_names(session_id) == {}


async def test_going_to_a_branch_that_is_shown_changes_no_path(desk, tree):
    await desk.press("up", "enter")
    await desk.until(lambda: desk.app.screen is not tree, "the chat")
    await shown(desk, "Alpha.")
    await desk.press("alt+up", "t", leads_to=MessageTree)
    second = desk.app.screen
    await desk.until(lambda: bool(second.can_show and second.chosen_id), "its branches")
    await desk.press("home", "enter")
    await desk.until(lambda: desk.app.screen is not second, "the chat")
    assert [m.text for m in await desk.on_disk()] == ["one", "Alpha."]


async def test_a_disk_that_fails_is_told_over_the_tree(desk, tree):
    desk.store.delete_message = AsyncMock(side_effect=StoreUnavailable("The disk is full."))
    await desk.press("d", sees="The disk is full.")
    assert desk.app.screen is tree
    assert len(tree.list.rows) == 3
