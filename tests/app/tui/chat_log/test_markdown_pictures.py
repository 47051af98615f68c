from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chat_log_app import LogApp, answer, highlighted

SHEET = (Path(__file__).parents[3] / "support" / "markdown_sheet.md").read_text(encoding="utf-8")
WIDTHS = {60: 152, 100: 120, 160: 120}  # columns, and rows that all of it needs there


class SheetApp(LogApp):
    """Shows one answer from its first row on."""

    def on_mount(self) -> None:
        self.log_view.show([answer(SHEET)])
        self.call_after_refresh(self.log_view.scroll_home)


async def in_colours(pilot):
    await pilot.pause()
    await highlighted(pilot.app.log_view)


@pytest.mark.parametrize(
    ("width", "theme"),
    [(60, "lmchat-dark"), (100, "lmchat-light"), (100, "lmchat-ansi"), (160, "lmchat-dark")],
)
def test_each_kind_of_markdown(snap_compare, width, theme):
    assert snap_compare(
        SheetApp(theme=theme), terminal_size=(width, WIDTHS[width]), run_before=in_colours
    )
