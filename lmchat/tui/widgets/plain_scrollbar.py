"""A scrollbar of whole cells, for terminals and fonts without block elements."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBarRender
from textual.widget import Widget

from lmchat.tui.icons import ASCII, signs_for


class PlainScrollBar(ScrollBarRender):
    """Only colours, no parts of cells."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


def fit_scrollbar(widget: Widget) -> None:
    """Give a widget a plain scrollbar where only ASCII may be drawn; to be called when it is mounted."""
    if signs_for(widget) is ASCII:
        widget.vertical_scrollbar.renderer = PlainScrollBar  # type: ignore[misc]  # as Textual documents it
