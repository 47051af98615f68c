"""`/set` on the screen: the list of sampling options, changes, and completion of names."""

from __future__ import annotations

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.config.settings import ChatSettings
from lmchat.core.servers.sampling_options import COMMON
from tests.support.desktop import calm, ready_desktop
from tests.support.scripted_backend import set_options


def sent(desk) -> list[dict[str, object]]:
    return [set_options(request) for request in desk.backend.requests]


async def test_the_list_has_what_is_set_and_enter_begins_its_change(tmp_path):
    settings = calm(chat=ChatSettings(temperature=0.7))
    async with ready_desktop(tmp_path, settings=settings) as desk:
        await desk.say("/set seed 42", sees="seed is 42 from the next answer on (session).")
        await desk.say("/set", leads_to=PickDialog, sees="Sampling")
        rows = [line for line in desk.text.splitlines() if "session" in line]
        assert any("seed" in row and "42" in row for row in rows)
        keys = desk.app.screen.list.keys
        assert {*COMMON} <= {*keys}
        assert desk.text.count("not set") == len(keys) - 2
        await desk.press(*["down"] * keys.index("seed"))
        await desk.press("enter", leads_to=AskDialog, sees="Change seed")
        await desk.type("default")
        await desk.press("enter", leads_to=ChatScreen, sees="seed is not sent")
        await desk.ask("one")
        assert sent(desk) == [{"temperature": 0.7}]
