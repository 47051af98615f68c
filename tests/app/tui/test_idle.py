"""When nothing happens, nothing runs: no timer is faster than the look at the server, in whatever state."""

from __future__ import annotations

from textual import events

from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.app.tui.widgets.find_bar import FindBar
from lmchat.core.servers.discovery.monitor import POLL_S
from tests.support.desktop import desktop, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps, half, model, probed


def _fast_timers(app):
    """Return the timers that run and come again sooner than a look at the server."""
    nodes = [
        app,
        *(node for screen in app.screen_stack for node in screen.walk_children(with_self=True)),
    ]
    timers = [timer for node in nodes for timer in node._timers]
    return [
        timer
        for timer in timers
        if timer._repeat is None
        and timer._interval < POLL_S
        and timer._active.is_set()
        and timer._task is not None
        and not timer._task.done()
    ]


async def _comes_to_rest(desk):
    await desk.until(lambda: not _fast_timers(desk.app), f"rest: {_fast_timers(desk.app)}")


async def _unfocused(desk):
    desk.app.post_message(events.AppBlur())
    await desk.until(lambda: not desk.app.app_focus, "that the focus is elsewhere")


async def test_at_rest_no_timer_is_faster_than_the_look_at_the_server(tmp_path):
    async with ready_desktop(tmp_path, answer_steps(), half("Half of it")) as desk:
        await desk.ask("hello")
        await _comes_to_rest(desk)
        await desk.press("alt+up")
        await _comes_to_rest(desk)
        await desk.press("ctrl+f", *"well")
        await desk.until(lambda: desk.chat_screen.query_one(FindBar).display, "find")
        await _comes_to_rest(desk)
        await desk.press("escape", "escape", "f1", leads_to=CommandsDialog)
        await _comes_to_rest(desk)
        await desk.press("escape", leads_to=ChatScreen)
        await desk.say("more", sees="Half of it")
        assert _fast_timers(desk.app), "an answer comes"
        await desk.press("escape", sees="stopped")
        await _comes_to_rest(desk)
        await _unfocused(desk)
        await _comes_to_rest(desk)


async def test_a_server_is_searched_at_once_when_the_focus_comes_back(tmp_path):
    backend = ScriptedBackend(results=[probed("offline")])
    async with desktop(tmp_path, backend) as desk:
        await desk.on(WelcomeScreen)
        await _unfocused(desk)
        await shown(desk, "next check in")
        backend.results = (probed("", model()),)
        desk.app.post_message(events.AppFocus())
        await desk.on(ChatScreen)
