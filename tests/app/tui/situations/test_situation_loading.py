from __future__ import annotations

from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import (
    CHAT,
    llama_cpp,
    lm_studio,
    loading_llama_cpp,
    model_list,
    ollama,
)
from tests.support.scripted_server import html_reply


async def test_ollama_without_models_names_the_command_and_the_pulled_one_is_offered(
    tmp_path, start
):
    server = start(ollama, is_empty=True)
    async with desktop.run(tmp_path, {11434: server}) as seen:
        await seen.on(WelcomeScreen)
        await shown(seen, "Ollama answers, but has no model yet.", "Next: ollama pull llama3.2.")
        assert seen.status_at(11434).word == "no model loaded"
        await seen.press("escape", leads_to=ChatScreen)
        await shown(seen, "◆ no model Ollama", "^O find a server")
        await seen.press("ctrl+o", leads_to=WelcomeScreen)
        await seen.rests()
        await seen.at_size(desktop.SMALL)
        ollama(server, "llama3.2:latest")
        seen.time_passes()
        await shown(seen, "Ollama answers, but no model is loaded.")
        await seen.press("enter", leads_to=ModelPicker)
        await shown(seen, "llama3.2:latest")
        await seen.press("enter")
        await seen.chats()


async def test_what_is_said_while_llama_cpp_loads_waits_and_is_answered_by_itself(
    tmp_path, start, small_picture
):
    server = start(loading_llama_cpp)
    async with desktop.run(tmp_path, {8080: server}) as seen:
        await seen.on(ChatScreen)
        await shown(seen, "◆ llama.cpp loading", "◆ loading 0 s llama.cpp")
        seen.time_passes(42)
        await shown(seen, "◆ loading 42 s llama.cpp", "loading 42 s")
        assert server.seen(CHAT) == []
        await seen.say("Hello?")
        await shown(seen, "next Hello?")
        await seen.type("and th")
        await small_picture(seen, "loading")
        llama_cpp(server)
        seen.time_passes()
        assert (await seen.answered()).text == "Hello there."
        assert seen.app.chat_screen.widgets.prompt_input.text == "and th", (
            "what is being typed stays"
        )
    assert [seen.json["messages"][-1]["content"] for seen in server.seen(CHAT)] == ["Hello?"]


async def test_a_server_without_a_model_takes_the_place_of_one_that_was_loading(tmp_path, start):
    server = start(loading_llama_cpp)
    async with desktop.run(tmp_path, {8080: server}) as seen:
        await seen.on(ChatScreen)
        await shown(seen, "◆ llama.cpp loading", "◆ loading 0 s")
        llama_cpp(server)
        server.on("GET /v1/models", model_list())
        seen.time_passes()
        await seen.on(WelcomeScreen)
        await seen.press("escape", leads_to=ChatScreen)
        await shown(seen, "◆ no model llama.cpp")
        assert "loading" not in seen.text


async def test_a_web_server_on_the_port_is_told_from_a_model_server(tmp_path, start, small_picture):
    server = start()
    server.unknown = html_reply()
    async with desktop.run(tmp_path, {1234: server}) as seen:
        await seen.on(WelcomeScreen)
        await shown(seen, "not an LLM server", "Another program uses port 1234: stop it")
        assert seen.status_at(1234).word == "not an LLM server"
        await small_picture(seen, "web-server")
        seen.places(1234, start(lm_studio))
        seen.time_passes()
        await seen.chats()
