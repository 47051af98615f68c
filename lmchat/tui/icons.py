"""Icons on the screen, in Unicode and in ASCII (`ui.ascii`)."""

from __future__ import annotations

from typing import ClassVar

from textual.scrollbar import ScrollBarRender
from textual.widget import Widget

from lmchat.units import ASCII, UNICODE, Icons

ASCII_CLASS = "-ascii"  # class of the app where only ASCII may be drawn


def icons_for(widget: Widget) -> Icons:
    """Return the signs for a widget: in ASCII where its app may draw nothing else."""
    return ASCII if widget.app.has_class(ASCII_CLASS) else UNICODE


class PlainScrollBar(ScrollBarRender):
    """Scrollbar without partial cells."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


def fit_scrollbar(widget: Widget) -> None:
    """Use a plain scrollbar where only ASCII may be drawn; call it when the widget is mounted."""
    if icons_for(widget) is ASCII:
        # Textual documents this assignment, but types the attribute as one of the class
        widget.vertical_scrollbar.renderer = PlainScrollBar  # type: ignore[misc]
