"""Each private name that painting needs: no new version of Textual or rich takes one away unseen."""

from __future__ import annotations

from textual.app import App, ComposeResult
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lmchat.tui.quirks.painting import grow, jump


class Rows(ScrollView):
    layouts = 0

    def render_line(self, y):
        return Strip.blank(self.size.width)


class RowsApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Rows()


async def test_a_view_that_grows_can_be_scrolled_to_its_new_end_without_a_layout_of_the_screen():
    async with RowsApp().run_test(size=(40, 10)) as pilot:
        view = pilot.app.query_one(Rows)
        grow(view, Size(1, 100))
        await pilot.pause()
        arranged = []
        screen = pilot.app.screen
        refresh_layout = screen._refresh_layout
        screen._refresh_layout = lambda *args, **options: (
            arranged.append(1) or refresh_layout(*args, **options)
        )
        grow(view, Size(1, 500))
        await pilot.pause()
        assert arranged == []
        assert view.max_scroll_y == 490
        assert view.vertical_scrollbar.window_virtual_size == 500
        view.scroll_to(y=490, animate=False)
        await pilot.pause()
        assert view.scroll_offset.y == 490


async def test_a_view_can_begin_with_another_row_without_a_watcher_or_a_layout():
    async with RowsApp().run_test(size=(40, 10)) as pilot:
        view = pilot.app.query_one(Rows)
        grow(view, Size(1, 100))
        await pilot.pause()
        seen = []
        pilot.app.watch(view, "scroll_y", lambda y: seen.append(y), init=False)  # noqa: PLW0108 - Textual counts parameters
        jump(view, 42)
        assert view.scroll_offset.y == view.scroll_target_y == view.vertical_scrollbar.position == 42
        jump(view, 1000)
        assert view.scroll_offset.y == view.max_scroll_y == 90
        jump(view, -1)
        await pilot.pause()
        assert view.scroll_offset.y == 0
        assert seen == []
        view.scroll_to(y=5, animate=False)
        await pilot.pause()
        assert seen == [5]
