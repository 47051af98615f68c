"""A server without a list of models, or with an empty one, is used by names that are typed."""

from __future__ import annotations

import pytest

from lmchat.tui.dialogs.ask_dialog import AskDialog
from lmchat.tui.dialogs.model_picker import ModelPicker
from lmchat.tui.screen import ChatScreen
from lmchat.tui.welcome.welcome_screen import WelcomeScreen
from tests.support import desktop
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import ScriptedServer, json_reply

NO_LIST = json_reply({"detail": "Not Found"}, status=404)
EMPTY = json_reply({"object": "list", "data": []})


@pytest.mark.parametrize(("reply", "port"), [(NO_LIST, 9000), (EMPTY, 9000), (NO_LIST, 8080)])
async def test_the_name_of_a_model_can_be_typed(reply, port, tmp_path, start):
    server: ScriptedServer = start()
    server.on("GET /v1/models", reply)
    server.on(CHAT, lambda seen: chat_reply("Hello there.", model=f"{seen.json['model']}@main"))
    settings = desktop.named(f"http://localhost:{port}")
    async with desktop.run(tmp_path, {port: server}, settings=settings) as seen:
        await seen.on(WelcomeScreen)
        await seen.shows("Or press Enter on its row to name a model.")
        await seen.presses("1", leads_to=AskDialog)  # the row of the server
        await seen.type("alder")
        await seen.presses("enter", leads_to=ChatScreen)
        await seen.chats("One?")
        seen.time_passes()
        await seen.shows(f"● alder · localhost:{port}", f"● localhost:{port} ready")

        await seen.says("/model oak")
        await seen.shows(f"localhost:{port} does not list oak; the next prompt tries it.")
        await seen.chats("Two?", count=2)
        await seen.presses("ctrl+o", leads_to=ModelPicker)
        await seen.type("org/Elm")
        await seen.shows("No model matches “org/Elm”. Enter tries this name.")
        await seen.presses("enter", leads_to=ChatScreen)
        answer = await seen.chats("Three?", count=3)
        assert (answer.model, answer.stats.served) == ("org/Elm", "org/Elm@main")
    async with desktop.run(
        tmp_path, {port: server}, settings=settings, state=seen.workspace.state
    ) as seen:
        await seen.chats("Four?")  # the model that was used last
    assert [one.json["model"] for one in server.seen(CHAT)] == [
        "alder",
        "oak",
        "org/Elm",
        "org/Elm",
    ]


async def test_a_typed_name_that_is_not_listed_is_not_called_ready(tmp_path, start):
    server: ScriptedServer = start()
    server.on("GET /v1/models", json_reply({"object": "list", "data": [{"id": "alder"}]}))
    settings = desktop.named("http://localhost:9000")
    async with desktop.run(tmp_path, {9000: server}, settings=settings) as seen:
        await seen.shows("alder is ready.")
        await seen.says("/model oak")
        await seen.shows("oak is not listed. The next prompt tries it.")
        await seen.says("/model alder")
        await seen.shows("alder is ready.")
