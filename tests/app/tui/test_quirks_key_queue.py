"""A key whose effect takes for ever does not hold the next ones for ever."""

from __future__ import annotations

import asyncio

from textual import events
from textual.app import ComposeResult
from textual.widgets import Input

from lmchat.app.tui.quirks.patched_app import PatchedApp


class WaitingInput(Input):
    """A field whose Enter waits for what is typed next."""

    async def on_key(self, event: events.Key) -> None:
        app = self.app
        if event.key == "enter" and isinstance(app, WaitingApp):
            app.key_queue.hold_while(lambda: True)
            await app.has_other_key.wait()
            app.is_answered = True


class OtherInput(Input):
    def on_key(self) -> None:
        app = self.app
        if isinstance(app, WaitingApp):
            app.has_other_key.set()


class WaitingApp(PatchedApp):
    def __init__(self) -> None:
        super().__init__()
        self.has_other_key = asyncio.Event()
        self.is_answered = False

    def compose(self) -> ComposeResult:
        yield WaitingInput()
        yield OtherInput()


async def test_a_key_that_waits_for_the_next_one_gets_it():
    app = WaitingApp()
    async with app.run_test() as pilot:
        app.query_one(WaitingInput).focus()
        await pilot.pause()
        app.post_message(events.Key("enter", None))
        app.query_one(OtherInput).focus()
        app.post_message(events.Key("x", "x"))
        async with asyncio.timeout(10):
            await app.has_other_key.wait()
        await pilot.pause()
        assert app.is_answered
        assert app.query_one(OtherInput).value == "x"
