from __future__ import annotations

import pytest

from lmchat.config.settings import Settings, UiSettings
from lmchat.config.state import State
from lmchat.tui.dialogs.theme_dialog import ThemeDialog
from lmchat.tui.quirks.keys import BackgroundReported
from lmchat.tui.screen import ChatScreen
from lmchat.tui.theme_files import read_themes
from tests.support.desktop import desktop, ready_desktop, shown

SEA = "primary = '#7fd1c7'\nbackground = '#0b1d26'\nforeground = '#dfe9ec'\n"


@pytest.fixture
def write(tmp_path):
    (tmp_path / "themes").mkdir()
    return lambda name, text: (tmp_path / "themes" / name).write_text(text)


async def test_the_list_shows_each_theme_live_and_only_a_chosen_one_is_remembered(desk, write):
    write("sea.toml", SEA)
    write("bad.toml", "primary = 'nocolour'")
    await desk.say("/theme", leads_to=ThemeDialog)
    names = desk.app.screen.list.keys
    assert {"nord", "dracula", "textual-light", "ansi-dark", "sea"} < set(names)
    await desk.press("down")
    assert desk.app.theme == "lmchat-light"
    await desk.press("end")
    assert desk.app.theme == names[-1]
    await desk.press("escape", leads_to=ChatScreen)
    assert (desk.app.theme, {one.theme for one in desk.state}) == ("lmchat-dark", {""})
    await desk.say("/theme sea", sees="Theme themes/bad.toml cannot be used: Expected a colour")
    await desk.until(lambda: desk.app.theme == "sea", "the theme")
    await desk.say("/theme", leads_to=ThemeDialog)
    await desk.press("end", "enter", leads_to=ChatScreen, sees=f"Theme: {names[-1]}.")
    assert desk.state[-1].theme == names[-1]


async def test_an_own_theme_that_is_set_is_used_and_an_unknown_one_is_told(tmp_path, write):
    write("sea.toml", SEA)
    async with ready_desktop(tmp_path, settings=Settings(ui=UiSettings(theme="sea"))) as desk:
        await desk.until(lambda: desk.app.theme == "sea", "the theme")
    async with ready_desktop(tmp_path, settings=Settings(ui=UiSettings(theme="see"))) as desk:
        await shown(desk, "Unknown theme: see. /theme lists all themes.")
        assert desk.app.theme == "lmchat-dark"


def test_a_file_that_is_no_theme_is_told_with_its_key_and_the_others_work(tmp_path, write):
    write("sea.toml", SEA)
    for text, words in (
        ("", "Object missing required field `primary`"),
        ("primary = '#zzz'", 'Expected a colour such as "#8fb8ff" as primary, got "#zzz"'),
        ("primary = 'red'\nbackgrund = 'red'", "Unknown key: backgrund"),
        (
            "primary = 'red'\nvariables = {border = 'x'}",
            'Expected a colour such as "#8fb8ff" as border, got "x"',
        ),
        ("primary = ", "Invalid value"),
    ):
        write("a.toml", text)
        themes, problems = read_themes(tmp_path / "themes")
        assert [theme.name for theme in themes] == ["sea"]
        assert len(problems) == 1
        assert problems[0].startswith(f"Theme themes/a.toml cannot be used: {words}")


@pytest.mark.parametrize(
    ("settings", "state", "waits_s", "theme"),
    [
        (UiSettings(), State(), 0.09, "lmchat-light"),
        (UiSettings(), State(), 0.11, "lmchat-dark"),
        (UiSettings(theme="dark"), State(), 0.0, "lmchat-dark"),
        (UiSettings(), State(theme="nord"), 0.0, "nord"),
    ],
)
async def test_lmchat_is_light_on_a_light_terminal_that_says_so_in_time_unless_a_theme_is_set(
    tmp_path, settings, state, waits_s, theme
):
    now_s = [100.0]
    more = {"settings": Settings(ui=settings), "state": state, "clock": lambda: now_s[0]}
    async with desktop(tmp_path, **more) as desk:
        assert desk.app.theme == (state.theme or "lmchat-dark")  # with the first paint
        assert "muted" in desk.app.theme_variables
        await desk.ready()
        now_s[0] += waits_s
        desk.app.post_message(BackgroundReported(is_dark=False))
        await desk.pilot.pause()
        assert desk.app.theme == theme
