from __future__ import annotations

import pytest

from tests.support.tui_host import PromptApp, drawn, screen_text

READY = ("●", "$success")


def foot(app: PromptApp, rows: int) -> list[str]:
    return screen_text(app).splitlines()[-rows:]


async def fill(app: PromptApp) -> None:
    app.prompt.status.show_state(
        READY, ("qwen3-8b", "LM Studio"), "~24 tok · 41 %", "42.3 tok/s · 41 %"
    )
    app.prompt.show_queue(["Which herbs go with them?"])
    app.prompt.input.put("and in full shade?")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (
            (80, 24),
            [
                " ▌ next  Which herbs go with them?                          ↑ edit  Del remove",
                " ▌ and in full shade?",
                " ▌ ● qwen3-8b · LM Studio                                       ~24 tok · 41 %",
            ],
        ),
        (
            (40, 12),
            [
                " ▌ next  Which he…  ↑ edit  Del remove",
                " ▌ and in full shade?",
                " ▌ ● qwen3-8b        42.3 tok/s · 41 %",
            ],
        ),
    ],
)
async def test_the_foot_is_as_drawn(size: tuple[int, int], shown: list[str]) -> None:
    async with drawn(PromptApp(), size) as (app, pilot):
        await fill(app)
        await pilot.pause()
        assert foot(app, 3) == shown


async def test_a_queued_message_shows_no_control_and_no_markup() -> None:
    async with drawn(PromptApp(), (100, 24)) as (app, pilot):
        app.prompt.show_queue(["[red]a\x1b[2J\nb[/]"])
        await pilot.pause()
        assert "next  [red]a␛[2J b[/]" in screen_text(app)
