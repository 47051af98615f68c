from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from lmchat.app.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.app.tui.dialogs.commands_dialog import CommandsDialog, help_groups
from lmchat.app.tui.dialogs.export_dialog import ExportDialog
from lmchat.app.tui.dialogs.report_texts import details
from lmchat.app.tui.dialogs.text_dialog import TextDialog
from lmchat.core.library.library import ExportAs
from lmchat.core.sessions.message import AnswerStats
from tests.support.look_data import (
    HITS,
    PLACES,
    model_picker,
    search_dialog,
)
from tests.support.look_pictures import SIZES, panels, said, steps
from tests.support.start_desk import bare_page, found
from tests.support.tui_host import Host, screen_text


def all_commands() -> CommandsDialog:
    return CommandsDialog("Keys and commands", help_groups({}))


@pytest.mark.parametrize("theme", ["lmchat-dark", "lmchat-light", "lmchat-ansi"])
def test_the_panels_beside_the_chat(snap_compare, theme):
    see = steps(sees="● LM Studio")
    assert snap_compare(panels(theme=theme), terminal_size=(120, 40), run_before=see)


async def test_dialogs_hold_only_ascii_where_that_is_wanted():
    async with panels(is_ascii=True).run_test(size=(120, 40)) as pilot:
        search = search_dialog([replace(hit, before="b", after="a") for hit in HITS])
        text = TextDialog("Title", "text\n" * 99)
        page = bare_page(found(PLACES))
        for dialog in (model_picker(), search, all_commands(), text, page):
            await pilot.app.push_screen(dialog)
            await pilot.pause()
            if dialog is search:
                await pilot.press("a")
            await pilot.pause()
            lines = screen_text(pilot.app).split("\n")
            assert [line for line in lines if not line.isascii()] == []
            await pilot.app.pop_screen()


@pytest.mark.parametrize("size", SIZES)
def test_the_picker_at_every_size(snap_compare, size):
    assert snap_compare(
        panels(model_picker),
        terminal_size=SIZES[size],
        run_before=steps(sees="11 models on 2 servers"),
    )


@pytest.mark.parametrize("size", ["80x24"])
def test_the_search_says_what_holds_the_words(snap_compare, size):
    kinds = ("reasoning", "tool_call", "text", "title")
    hits = [
        replace(hit, kind=kind)
        for hit, kind in zip((HITS[1], HITS[2], HITS[0], HITS[3]), kinds, strict=True)
    ]
    hits[3] = replace(hits[3], message_id="", role="")  # as the store returns a title
    see = steps(*"shade", sees="4 hits")
    dialog = partial(search_dialog, hits)
    assert snap_compare(panels(dialog), terminal_size=SIZES[size], run_before=see)


@pytest.mark.parametrize("size", SIZES)
def test_the_welcome_page_at_every_size(snap_compare, size):
    see = steps(sees="not an LLM server")
    page = partial(bare_page, found(PLACES))
    assert snap_compare(Host(screen=page), terminal_size=SIZES[size], run_before=see)


@pytest.mark.parametrize("size", ["80x24"])
def test_help(snap_compare, size):
    see = steps(sees="Keys and commands")
    assert snap_compare(panels(all_commands), terminal_size=SIZES[size], run_before=see)


@pytest.mark.parametrize("theme", ["lmchat-ansi"])
def test_a_question_of_yes_or_no(snap_compare, theme):
    ask = partial(ConfirmDialog, "Allow gpu-box:8000?", text="For this run only.", verb="allow it")
    see = steps(sees="Enter allow it")
    assert snap_compare(panels(ask, theme=theme), terminal_size=(80, 24), run_before=see)


ANSWERED = replace(
    said("a", "Leaves first.", model="qwen3-8b"),
    endpoint="http://localhost:1234",
    stats=AnswerStats(
        ttft_ms=210,
        wait_ms=7510,
        elapsed_ms=11_710,
        reasoning_ms=3200,
        was_loaded=True,
        load_ms=4100,
        finish_reason="stop",
        steps=2,
        prompt_tokens=1204,
        cached_tokens=944,
        prompt_tokens_per_second=1240,
        completion_tokens=408,
        thought_tokens=96,
        tokens_per_second=42.3,
        context=8192,
        sampling={"temperature": 0.7, "top_p": 0.95, "seed": 4711},
    ),
)


@pytest.mark.parametrize(("size", "theme"), [("120x40", "lmchat-light"), ("80x24", "lmchat-ansi")])
def test_the_details_of_an_answer(snap_compare, size, theme):
    figures = ("qwen3-8b", "LM Studio", "today 14:02")
    text = partial(TextDialog, "Details", partial(details, ANSWERED), figures)
    see = steps(sees="loading the model")
    assert snap_compare(panels(text, theme=theme), terminal_size=SIZES[size], run_before=see)


def test_the_circumstances_of_an_answer_are_cut_into_lines_between_its_pieces():
    for width, lines in (
        (75, ["localhost:1234 · 2 steps · complete · begun 2026-11-20 14:02:00"]),
        (62, ["localhost:1234 · 2 steps · complete", "begun 2026-11-20 14:02:00"]),
        (20, ["localhost:1234", "2 steps · complete", "begun 2026-11-20 14:02:00"]),
    ):
        assert str(details(ANSWERED, width)).split("\n\n")[-1].split("\n") == lines


def test_the_export_of_a_session(snap_compare):
    async def write(name: str, contents: ExportAs) -> str:
        return f"{name} exists."

    dialog = ExportDialog(
        "plan-for-the-garden.md", write, ExportAs(), folder="~/notes", figure="4 messages"
    )
    see = steps("tab", "tab", sees="● HTML")
    assert snap_compare(panels(lambda: dialog), terminal_size=(120, 40), run_before=see)


def test_a_text(snap_compare):
    text = partial(TextDialog, "Statistics", "\n".join(f"line {n}" for n in range(60)))
    see = steps("pagedown", sees="line 35")
    assert snap_compare(panels(text), terminal_size=(80, 24), run_before=see)
