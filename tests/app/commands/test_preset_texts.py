from __future__ import annotations

from datetime import date

import pytest

from lmchat.app.commands.shared import filled_preset
from lmchat.base.errors import FileRefused, WrongUse
from lmchat.core.config.settings import Preset

PRESETS = {
    name: Preset(text=text)
    for name, text in {
        "french": "In French: {{input}} ({{ input }})",
        "review": "Review this.\n",
        "today": "{{date}}: {{clipboard}} {{other}}",
    }.items()
}


async def copied() -> str:
    return "{{date}}"


async def unreadable() -> str:
    raise FileRefused("no clipboard")


@pytest.mark.parametrize(
    ("name", "typed", "prompt"),
    [
        ("french", "{{date}} cats", "In French: {{date}} cats ({{date}} cats)"),
        ("review", "x = 1\n", "Review this.\n\nx = 1\n"),
        ("review", "", "Review this.\n"),
        ("today", "", "DAY: {{date}} {{other}}"),
    ],
)
async def test_a_preset_is_filled_once_and_has_input_behind_it_without_a_place(name, typed, prompt):
    days = [f"{date.today():%Y-%m-%d}"]  # noqa: DTZ011 - the user's day
    filled = await filled_preset(PRESETS, name, typed, copied)
    days.append(f"{date.today():%Y-%m-%d}")  # noqa: DTZ011 - midnight may have passed
    assert filled in {prompt.replace("DAY", day) for day in days}


async def test_only_a_preset_that_wants_the_clipboard_needs_one():
    assert await filled_preset(PRESETS, "review", "", unreadable) == "Review this.\n"
    with pytest.raises(FileRefused, match="no clipboard"):
        await filled_preset(PRESETS, "today", "", unreadable)


@pytest.mark.parametrize(
    ("presets", "name", "words"),
    [
        (PRESETS, "frensh", "Unknown preset: frensh. Configured: french, review, today."),
        (
            {},
            "french",
            "Unknown preset: french. Add [prompts.NAME] to config.toml and start lmchat again.",
        ),
        (PRESETS, "french", "The preset french needs a text. Type it after the name."),
    ],
)
async def test_a_preset_that_cannot_be_filled_says_what_to_type(presets, name, words):
    with pytest.raises(WrongUse) as caught:
        await filled_preset(presets, name, " ", copied)
    assert caught.value.message_with_next_step == words
