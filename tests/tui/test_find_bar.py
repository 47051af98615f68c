from __future__ import annotations

from textual.app import App, ComposeResult

from lmchat.tui.widgets.chat_log import ChatLog
from lmchat.tui.widgets.chat_log.matching import MAX_CHARS
from lmchat.tui.widgets.find_bar import FindBar


class BarApp(App[None]):
    def compose(self) -> ComposeResult:
        log = ChatLog()
        yield log
        yield FindBar(log)


async def test_the_bar_says_where_one_is_and_how_much_of_the_words_is_looked_for():
    async with BarApp().run_test(size=(120, 3)) as pilot:
        bar = pilot.app.query_one(FindBar)
        for size, place, count, is_whole, note in (
            (0, 0, 0, True, ""),
            (5, 3, 17, True, "3/17"),
            (5, 3, 17, False, "3/17+"),
            (5, 0, 1, True, "1 hit"),
            (5, 0, 0, True, "no hits"),
            (5, 0, 0, False, "…"),
            (MAX_CHARS, 1, 2, True, "1/2"),
            (MAX_CHARS + 1, 1, 2, True, f"1/2 for the first {MAX_CHARS} characters"),
            (MAX_CHARS + 1, 0, 0, True, f"no hits for the first {MAX_CHARS} characters"),
        ):
            bar.open("x" * size)
            await pilot.pause()
            bar.show_place(place, count, is_whole=is_whole)
            await pilot.pause()
            assert str(bar.query_one(".note").render()) == note
