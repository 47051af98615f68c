"""A server without a list of models, or with an empty one, is used by names that are typed."""

from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.config.settings import Settings
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import ScriptedServer, json_reply


async def test_other_names_can_be_typed_and_the_last_one_is_used_by_the_next_run(tmp_path, start):
    server: ScriptedServer = start()
    server.on("GET /v1/models", json_reply({"detail": "Not Found"}, status=404))
    server.on(CHAT, lambda seen: chat_reply("Hello there.", model=f"{seen.json['model']}@main"))
    settings = Settings(endpoint="http://localhost:9000")
    async with desktop.run(tmp_path, {9000: server}, settings=settings) as seen:
        await seen.on(WelcomeScreen)
        await shown(seen, "Or press Enter on its row to name a model.")
        await seen.press("1", leads_to=AskDialog)  # the row of the server
        await seen.type("alder")
        await seen.press("enter", leads_to=ChatScreen)
        await seen.chats("One?")
        seen.time_passes()
        await shown(seen, "● alder · localhost:9000", "● localhost:9000 ready")
        await seen.say("/model oak")
        await shown(seen, "localhost:9000 does not list oak; the next prompt tries it.")
        await shown(seen, "Ask oak (until now alder)…")
        await seen.chats("Two?", count=2)
        await shown(seen, "Ask oak…")
        await seen.press("ctrl+o", leads_to=ModelPicker)
        await seen.type("org/Elm")
        await shown(seen, "No model matches “org/Elm”. Enter tries this name.")
        await seen.press("enter", leads_to=ChatScreen)
        answer = await seen.chats("Three?", count=3)
        assert (answer.model, answer.stats.served) == ("org/Elm", "org/Elm@main")
    state = seen.workspace.state
    async with desktop.run(tmp_path, {9000: server}, settings=settings, state=state) as seen:
        await seen.chats("Four?")
    names = [one.json["model"] for one in server.seen(CHAT)]
    assert names == ["alder", "oak", "org/Elm", "org/Elm"]


async def test_a_typed_name_that_is_not_listed_is_not_called_ready(tmp_path, start):
    server: ScriptedServer = start()
    server.on("GET /v1/models", json_reply({"object": "list", "data": [{"id": "alder"}]}))
    settings = Settings(endpoint="http://localhost:9000")
    async with desktop.run(tmp_path, {9000: server}, settings=settings) as seen:
        await shown(seen, "alder is ready.")
        await seen.say("/model oak")
        await shown(seen, "oak is not listed. The next prompt tries it.")
        await seen.say("/model alder")
        await shown(seen, "alder is ready.")
