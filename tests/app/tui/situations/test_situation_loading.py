from __future__ import annotations

from lmchat.app.tui.screen import ChatScreen
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import (
    CHAT,
    llama_cpp,
    loading_llama_cpp,
)


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
