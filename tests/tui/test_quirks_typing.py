"""Keys that edit take effect before what was typed after them."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import TextArea

from lmchat.tui.quirks.patched_app import PatchedApp
from lmchat.tui.widgets.field import TextLine
from lmchat.tui.widgets.prompt_input import PromptInput
from tests.support.tui_host import type_at_once


class Inputs(PatchedApp):
    def compose(self) -> ComposeResult:
        yield PromptInput()
        yield TextLine()


async def test_a_burst_of_keys_is_taken_in_order():
    for typed, text in [
        ("abc\x7fd", "abd"),
        ("abc\x15d", "d"),
        ("abc<d", "abdc"),
        ("abc^d", "dabc"),
        ("one two\x17x", "one x"),
    ]:
        for kind in [PromptInput, TextLine]:
            app = Inputs()
            async with app.run_test() as pilot:
                widget = app.query_one(kind)
                widget.focus()
                await pilot.pause()
                await type_at_once(app, typed)
                await pilot.pause()
                assert (widget.text if isinstance(widget, TextArea) else widget.value) == text
