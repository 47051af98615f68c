from __future__ import annotations

import json

from textual.widgets import Input

from lmchat.tui.screens.ask_dialog import AskDialog
from lmchat.tui.screens.search_dialog import SearchDialog
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps


async def tags_of(desk) -> tuple[str, ...]:
    return (await desk.store.open_session(desk.session_id)).header.tags


async def test_a_command_puts_a_tag_on_and_takes_it_off(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Lettuce."), asked=["Plan"]) as desk:
        await desk.say("/tag Garden plans", sees="Tagged #garden #plans.")
        assert await tags_of(desk) == ("garden", "plans")
        await shown(desk, "Plan #garden #plans")
        await desk.press("ctrl+k", leads_to=SearchDialog)
        await desk.type("lettuce")
        await shown(desk, "Plan  #garden #plans")
        await desk.press("escape")
        await desk.say("/tag #plans", sees="Tagged #garden.")
        await desk.say("/tag garden", sees="Tags removed.")
        assert await tags_of(desk) == ()


async def test_a_key_of_the_list_asks_for_all_tags_of_a_session(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Lettuce."), asked=["Plan"]) as desk:
        await desk.say("/tag garden", sees="Plan #garden")
        desk.session_list.focus()
        await desk.until(lambda: bool(desk.session_list.chosen_id), "the list")
        await desk.press("g", leads_to=AskDialog)
        await desk.until(lambda: desk.app.screen.query_one(Input).value == "garden", "its tags")
        await desk.type(" spring")
        await desk.press("enter", sees="Plan #garden #spring")
        await desk.press("g", leads_to=AskDialog)
        await desk.press("escape")
        assert await tags_of(desk) == ("garden", "spring")


async def test_a_session_that_is_not_begun_has_no_tags_and_says_so(desk):
    await desk.say("/tag garden", sees="This session is empty")


async def test_an_export_has_the_tags_and_the_pin_that_the_shown_session_has_just_got(tmp_path):
    file = tmp_path / "plan.json"
    async with ready_desktop(tmp_path, answer_steps("Lettuce."), asked=["Plan"]) as desk:
        await desk.say("/tag garden", sees="Tagged #garden.")
        await desk.chat.saved_sessions.act("pin", desk.session_id)
        desk.chat.run_command(f"/export {file}")
        await desk.until(file.exists, "the file")
        header = json.loads(file.read_text())["session"]
        assert (header["tags"], header["is_pinned"]) == (["garden"], True)
