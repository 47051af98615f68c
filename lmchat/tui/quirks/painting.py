"""Private names that the chat log needs: growing without a layout of the screen, its own scrollbar."""

from __future__ import annotations

from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar


def grow(view: ScrollView, size: Size) -> None:
    """Set the size of what a view scrolls over.

    Assigning `virtual_size` asks for a layout of the whole screen, which costs a quarter of streaming.
    """
    if size == view.virtual_size:
        return
    is_more = size.height > view.virtual_size.height
    view.set_reactive(ScrollView.virtual_size, size)
    bar = view._vertical_scrollbar
    if is_more and bar is not None and view.show_vertical_scrollbar:
        bar.set_reactive(ScrollBar.window_virtual_size, size.height)
        bar.refresh()  # it was there, it stays, and nothing moves: the rest of the update changes nothing
    else:
        view._scroll_update(size)  # the other half of what the assignment does


def jump(view: ScrollView, y: int) -> None:
    """Let a view begin with another row, at once: no watcher is called, and no message sent."""
    y = max(min(y, view.max_scroll_y), 0)
    view.set_reactive(ScrollView.scroll_y, float(y))
    view.set_reactive(ScrollView.scroll_target_y, float(y))
    bar = view._vertical_scrollbar
    if bar is not None and view.show_vertical_scrollbar:
        bar.set_reactive(ScrollBar.position, float(y))
        bar.refresh()
    view.refresh(view.size.region)


def adopt(view: ScrollView, bar: ScrollBar) -> None:
    """Give a view a scrollbar of another kind, before it has one."""
    view._vertical_scrollbar = bar
    bar.display = False
    view.app._start_widget(view, bar)


def adopted(view: ScrollView) -> ScrollBar | None:
    """Return the scrollbar that a view has."""
    return view._vertical_scrollbar
