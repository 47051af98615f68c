from __future__ import annotations

from tests.support.tui_host import PromptApp, drawn, screen_text


async def test_the_foot_has_its_shortest_form_on_a_narrow_screen() -> None:
    async with drawn(PromptApp(), (40, 12)) as (app, pilot):
        app.prompt_area.status.show_state(
            ("●", "$success"), ("qwen3-8b", "LM Studio"), "~24 tok · 41 %", "42.3 tok/s · 41 %"
        )
        app.prompt_area.show_queue(["Which herbs go with them?"])
        app.prompt_area.input.put("and in full shade?")
        await pilot.pause()
        assert screen_text(app).splitlines()[-3:] == [
            " ▌ next  Which he…  ↑ edit  Del remove",
            " ▌ and in full shade?",
            " ▌ ● qwen3-8b        42.3 tok/s · 41 %",
        ]


async def test_a_queued_message_shows_no_control_and_no_markup() -> None:
    async with drawn(PromptApp(), (100, 24)) as (app, pilot):
        app.prompt_area.show_queue(["[red]a\x1b[2J\nb[/]"])
        await pilot.pause()
        assert "next  [red]a␛[2J b[/]" in screen_text(app)
