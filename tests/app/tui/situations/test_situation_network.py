from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.core.config.settings import Settings
from tests.support import desktop
from tests.support.desktop import shown
from tests.support.scripted_products import plain

KEY = "key-of-the-gpu-box"
REFUSAL = "Endpoint not allowed: Endpoint must be localhost, or be allowed by --allow-host gpu-box"


async def test_another_machine_is_asked_only_after_yes_and_with_its_key(tmp_path, start, picture):
    server = start(plain, "far", key=KEY)
    settings = Settings(endpoint="http://gpu-box:8000")
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
