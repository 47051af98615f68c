from __future__ import annotations

from msgspec.structs import replace

from lmchat.app.tui.widgets.prompt_area import StatusLine
from tests.support.tui_host import PromptApp, drawn, screen_text

LINE = StatusLine(
    sign=("●", "$success"),
    model="qwen3-8b",
    server="LM Studio",
    draft_tokens=24,
    speed=42.3,
    speeds=(10.0, 25.0, 40.0, 41.0, 42.0, 44.0),
    share=0.41,
)


def last_row(app) -> str:
    return screen_text(app).rstrip().splitlines()[-1].strip(" ▌")


async def test_without_a_panel_the_last_row_has_the_figures_and_loses_the_bars_first():
    async with drawn(PromptApp(), (80, 24)) as (app, pilot):
        for width, line in (
            (80, "● qwen3-8b · LM Studio    ▂▅▇▇██  42 tok/s  ━━──── 41 %"),
            (44, "● qwen3-8b     42 tok/s  ━━──── 41 %"),
            (40, "● qwen3-8b     42 tok/s  ━━──── 41 %"),
            (33, "● qwen3-8b  42 tok/s  41 %"),
            (29, "● qwe…8b  42 tok/s  41 %"),
        ):
            await pilot.resize_terminal(width, 24)
            app.prompt_area.status.line = LINE
            await pilot.pause()
            assert last_row(app).split() == line.split(), width
        app.prompt_area.status.line = replace(
            LINE, speed=None, speeds=(), share=None, window="8k window"
        )
        await pilot.resize_terminal(40, 24)
        await pilot.pause()
        assert last_row(app).split() == ["●", "qwen3-8b", "·", "LM", "Studio", "8k", "window"]


async def test_beside_a_panel_the_last_row_says_what_will_answer_and_the_size_of_the_draft() -> (
    None
):
    async with drawn(PromptApp(), (120, 40)) as (app, pilot):
        for line, words in (
            (LINE, "● qwen3-8b · LM Studio ~24 tok"),
            (replace(LINE, draft_tokens=0), "● qwen3-8b · LM Studio"),
            (
                replace(LINE, sign=("×", "$error"), state="down"),
                "× down qwen3-8b · LM Studio ~24 tok",
            ),
            (replace(LINE, saving="temporary"), "● qwen3-8b · LM Studio temporary · ~24 tok"),
            (replace(LINE, model=""), "● LM Studio ~24 tok"),
            (StatusLine(sign=("·", ""), state="looking for a server"), "· looking for a server"),
        ):
            app.prompt_area.status.line = line
            await pilot.pause()
            assert " ".join(last_row(app).split()) == words


async def test_the_queue_is_a_card_of_few_rows_on_the_prompt_and_its_words_come_before_its_keys() -> (
    None
):
    async with drawn(PromptApp(), (40, 12)) as (app, pilot):
        app.prompt_area.show_queue(["[red]Which\x1b[2J\nherbs[/]?"])
        app.prompt_area.input.put("and in full shade?")
        await pilot.pause()
        assert screen_text(app).splitlines()[-3:-1] == [
            " ▌ next  [red]Which␛[2J herbs[/]?",
            " ▌ and in full shade?",
        ]
        await pilot.resize_terminal(80, 12)
        await pilot.pause()
        assert screen_text(app).splitlines()[-3].endswith("↑ edit  Del remove")
        texts = [f"prompt {number}" for number in range(1, 10)]
        app.prompt_area.show_queue(texts)
        for height, rows in (
            (40, ["next  prompt 1", "next  prompt 4", "4 more, then  prompt 9"]),
            (24, ["next  prompt 1", "7 more, then  prompt 9"]),
        ):
            await pilot.resize_terminal(80, height)
            await pilot.pause()
            text = screen_text(app)
            assert all(row in text for row in rows)
            assert text.count("prompt ") == (5 if height == 40 else 2)
