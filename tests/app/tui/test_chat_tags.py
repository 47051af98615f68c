from __future__ import annotations

import json

from textual.widgets import Input

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps


async def tags_of(desk) -> tuple[str, ...]:
    return (await desk.store.open_session(desk.session_id)).header.tags


async def test_tags_are_put_on_and_taken_off_by_a_command_and_by_a_key_of_the_list(tmp_path):
    file = tmp_path / "plan.json"
    async with ready_desktop(tmp_path, answer_steps("Lettuce.")) as desk:
        await desk.say("/tag garden", sees="This session is empty")
        desk.prompt_input.put("")
        await desk.ask("Plan")
        await desk.say("/tag Garden plans", sees="Tagged #garden #plans.")
        assert await tags_of(desk) == ("garden", "plans")
        await shown(desk, "#garden #plans")
        await desk.press("ctrl+k", leads_to=SearchDialog)
        await desk.type("lettuce")
        await shown(desk, "1 hit in 1 session")
        await desk.press("escape")
        await desk.say("/tag #plans", sees="Tagged #garden.")
        await desk.dispatcher.controllers.saved_sessions.pin(desk.session_id)
        desk.dispatcher.commands.run_line(f"/export {file}", desk.prompt_input.prompt)
        await desk.until(file.exists, "the file")
        header = json.loads(file.read_text(encoding="utf-8"))["session"]
        assert (header["tags"], header["is_pinned"]) == (["garden"], True)

        desk.session_list.focus()
        await desk.until(lambda: bool(desk.session_list.chosen_id), "the list")
        await desk.press("g", leads_to=AskDialog)
        await desk.until(lambda: desk.app.screen.query_one(Input).value == "garden", "its tags")
        await desk.type(" spring")
        await desk.press("enter", sees="#garden #spring")
        await desk.press("g", leads_to=AskDialog)
        await desk.press("escape")
        assert await tags_of(desk) == ("garden", "spring")
        desk.prompt_input.focus()
        await desk.say("/tag garden spring", sees="Tags removed.")
        assert await tags_of(desk) == ()
        await desk.say("/tag beans;peas", sees="Tagged #beans;peas.")
        assert desk.dispatcher.ui.last_action == "tagged #beans;peas"
