from __future__ import annotations

import pytest

from lmchat.app.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.app.tui.quirks.keys import BackgroundReported
from lmchat.app.tui.screen import ChatScreen
from lmchat.core.config.settings import Settings, UiSettings
from lmchat.core.config.state import State
from tests.support.desktop import desktop


async def test_the_list_shows_each_theme_live_and_only_a_chosen_one_is_remembered(desk):
    await desk.say("/theme", leads_to=ThemeDialog)
    names = desk.app.screen.list.keys
    assert {"nord", "dracula", "textual-light", "ansi-dark"} < set(names)
    await desk.press("down")
    assert desk.app.theme == "lmchat-light"
    await desk.press("end")
    assert desk.app.theme == names[-1]
    await desk.press("escape", leads_to=ChatScreen)
    assert (desk.app.theme, {one.theme for one in desk.state}) == ("lmchat-dark", {""})
    await desk.say("/theme nord", sees="Theme: nord.")
    await desk.say("/theme", leads_to=ThemeDialog)
    await desk.press("end", "enter", leads_to=ChatScreen, sees=f"Theme: {names[-1]}.")
    assert desk.state[-1].theme == names[-1]


@pytest.mark.parametrize(
    ("term", "settings", "state", "theme"),
    [
        ("linux", UiSettings(), State(), "lmchat-ansi"),
        ("linux", UiSettings(theme="dark"), State(), "lmchat-dark"),
        ("xterm-256color", UiSettings(), State(), "lmchat-light"),
        ("xterm-256color", UiSettings(theme="unknown"), State(), "lmchat-dark"),
        ("xterm-256color", UiSettings(), State(theme="nord"), "nord"),
    ],
)
async def test_lmchat_is_as_light_as_a_terminal_of_more_than_16_colours_unless_a_theme_is_set(
    tmp_path, monkeypatch, term, settings, state, theme
):
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", term)
    async with desktop(tmp_path, settings=Settings(ui=settings), state=state) as desk:
        if theme != "lmchat-ansi":
            assert desk.app.theme == (state.theme or "lmchat-dark")  # with the first paint
        assert "muted" in desk.app.theme_variables
        await desk.ready()
        for is_dark in (False, True):
            desk.app.post_message(BackgroundReported(is_dark=is_dark))
            await desk.pilot.pause()
            is_followed = theme == "lmchat-light" and is_dark
            assert desk.app.theme == ("lmchat-dark" if is_followed else theme)
