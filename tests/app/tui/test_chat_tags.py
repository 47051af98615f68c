from __future__ import annotations

from textual.widgets import Input

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps


async def tags_of(desk) -> tuple[str, ...]:
    return (await desk.store.open_session(desk.session_id)).header.tags


async def test_tags_are_put_on_and_taken_off_by_a_command_and_by_a_key_of_the_list(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Lettuce.")) as desk:
        await desk.say("/tag garden", sees="This session is empty")
        desk.prompt_input.put("")
        await desk.ask("Plan")
        await desk.say("/tag Garden plans", sees="Tagged #garden #plans.")
        assert await tags_of(desk) == ("garden", "plans")
        await shown(desk, "#garden #plans")
        await desk.say("/tag #plans", sees="Tagged #garden.")

        desk.session_list.focus()
        await desk.until(lambda: bool(desk.session_list.chosen_id), "the list")
        await desk.press("g", leads_to=AskDialog)
        await desk.until(lambda: desk.app.screen.query_one(Input).value == "garden ", "its tags")
        await desk.type("spring")
        await desk.press("enter", sees="#garden #spring")
        await desk.press("g", leads_to=AskDialog)
        await desk.press("escape")
        assert await tags_of(desk) == ("garden", "spring")
        desk.prompt_input.focus()
        await desk.say("/tag garden spring", sees="Tags removed.")
        assert await tags_of(desk) == ()
