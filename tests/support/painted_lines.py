"""What lines of the log look like, character by character and style by style."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.style import Style

from lmchat.tui.widgets.chat_log.blocks import Line
from lmchat.tui.widgets.chat_log.layout.page import Page
from tests.support.chat_log_app import plain_page


def coloured_page(width: int = 48) -> Page:
    """A page on which each style can be told from all others."""
    return plain_page(width, lambda name: Style(color=f"#{sum(map(ord, name)) * 7919 % (1 << 24):06x}"))


def painted(lines: Iterable[Line]) -> list[tuple[object, ...]]:
    """Of each line: its segments, those of one style joined; its text; whether the next continues it."""
    return [
        (
            [
                ("".join(segment.text for segment in group), str(style), _meta(style))
                for style, group in groupby(line.segments, key=lambda segment: segment.style)
            ],
            line.text,
            line.is_wrapped,
        )
        for line in lines
    ]


def _meta(style: Style | None) -> str:
    return str(style.meta) if style else ""
