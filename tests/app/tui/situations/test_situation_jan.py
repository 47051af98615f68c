from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import CHAT, jan

KEY = "jan-key-of-this-test"
ORIGIN = "http://localhost:1337"


async def test_a_key_is_asked_for_with_the_place_where_it_is_shown_and_kept(
    tmp_path, start, picture
):
    async with desktop.run(tmp_path, {1337: start(jan, key=KEY)}) as seen:
        await seen.on(WelcomeScreen)
        await seen.press("enter", leads_to=AskDialog)
        await shown(
            seen,
            "Jan needs an API key",
            "Use the API key from Jan: Settings, Local API Server.",
            "Enter check and save",
        )
        assert seen.status_at(1337).word == "needs key"
        await picture(seen, "key")
        await seen.type(KEY)
        await seen.press("enter")
        await seen.chats()
        assert seen.credentials.keys[ORIGIN] == KEY
        assert KEY not in seen.text
    async with desktop.run(
        tmp_path, {1337: start(jan, key=KEY)}
    ) as seen:  # the next run does not ask
        await seen.chats()


async def test_a_host_name_that_it_does_not_trust_is_named_with_its_setting(
    tmp_path, start, small_picture
):
    trusts: set[str] = {"127.0.0.1", "localhost"}
    server = start(jan, trusts=trusts)
    settings = desktop.named("http://gpu-box:1337", allowed=["gpu-box"])
    async with desktop.run(tmp_path, {("gpu-box", 1337): server}, settings=settings) as seen:
        await seen.on(WelcomeScreen)
        await shown(
            seen,
            "Jan at gpu-box:1337 does not accept the host name gpu-box.",
            "Next: Add gpu-box in Jan: Settings, Local API Server, Trusted Hosts.",
            "host blocked",
        )
        await small_picture(seen, "host-blocked")
        trusts.add("gpu-box")
        seen.time_passes()
        await seen.chats()
    assert {seen.headers["host"] for seen in server.seen(CHAT)} == {
        "gpu-box:1337"
    }  # never overridden
