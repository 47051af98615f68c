from __future__ import annotations

import httpx

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import lm_studio, plain
from tests.support.scripted_server import ScriptedServer

KEY = "key-of-the-gpu-box"
REFUSAL = "Endpoint not allowed: Endpoint must be localhost, or be allowed by --allow-host gpu-box"


async def test_a_certificate_that_nobody_here_has_signed_is_told_with_the_way_out(
    tmp_path, picture, start
):
    with ScriptedServer(certificate="alone") as server:
        plain(server, "tiny")
        place = f"localhost:{server.port}"
        settings = desktop.named(f"https://{place}")
        async with desktop.run(tmp_path, {server.port: server}, settings=settings) as seen:
            await seen.on(WelcomeScreen)
            await shown(
                seen, f"The certificate of {place} is not trusted", "Nothing was sent.", "ca_file"
            )
            assert server.requests == []
            await picture(seen, "certificate", instead={f"{server.port:05}": "54321"})


async def test_without_any_network_the_page_is_of_use_and_goes_on_when_there_is_one(
    tmp_path, start
):
    async with desktop.run(tmp_path, {1234: start(lm_studio)}) as seen:
        await seen.chats("What grows in shade?")
    async with desktop.run(tmp_path) as seen:
        seen.ports.nobody = httpx.ConnectError("[Errno 101] Network is unreachable")
        await seen.on(WelcomeScreen)
        await shown(
            seen, "No model server answers on this machine yet.", "LM Studio", "Type an address"
        )
        assert {one.word for one in seen.workspace.finder.servers} == {"refused"}
        await seen.rests()
        await seen.press("ctrl+k", leads_to=SearchDialog)
        await seen.type("shade")
        await shown(seen, "What grows in shade?")
        await seen.press("escape")
        seen.places(1234, start(lm_studio))
        seen.time_passes()
        await seen.chats()


async def test_another_machine_is_asked_only_after_yes_and_with_its_key(tmp_path, start, picture):
    server = start(plain, "far", key=KEY)
    settings = desktop.named("http://gpu-box:8000")
    async with desktop.run(tmp_path, {("gpu-box", 8000): server}, settings=settings) as seen:
        await seen.on(WelcomeScreen)
        await shown(
            seen,
            REFUSAL,
            "Next: lmchat --allow-host gpu-box. Or press Enter to allow it for this run.",
        )
        await seen.press("enter", sees="gpu-box:8000 is not this machine")
        await seen.press("escape", leads_to=WelcomeScreen)
        await seen.press("enter", sees="gpu-box:8000 is not this machine")
        await picture(seen, "allow")
        assert seen.ports.paths(8000, "gpu-box") == []
        await seen.confirm(leads_to=AskDialog)
        await shown(
            seen,
            "The server needs an API key",
            "Ask the administrator of the server for its API key.",
        )
        await seen.rests()
        await seen.type(KEY)
        await seen.press("enter")
        await seen.chats()
        assert seen.credentials.keys["http://gpu-box:8000"] == KEY
