from __future__ import annotations

import asyncio

from lmchat.core.servers.events import StreamFinished, TextDelta
from tests.support.desktop import gone, ready_desktop, shown
from tests.support.scripted_backend import answer_steps, half

LONG = "\n\n".join(f"Paragraph {number} of a long answer." for number in range(80))


async def test_a_queued_message_goes_out_without_taking_the_reader_along(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(
        tmp_path, half(LONG, gate), answer_steps("The second answer.")
    ) as desk:
        await desk.say("First", sees="Paragraph 79")
        await desk.press("pageup")
        await desk.say("Second", sees="next  Second")
        assert desk.log_view.viewport.is_following
        await desk.press("pageup", "pageup")
        await desk.pilot.pause()
        before = desk.log_rows
        gate.set()
        await desk.answered(2)
        assert desk.log_rows[: len(before)] == before  # the card above the prompt is gone
        await shown(desk, "new text")
        await desk.press("end", sees="The second answer.")
        await gone(desk, "new text")


async def test_the_pill_tells_of_new_text_and_a_click_on_it_goes_to_the_end(tmp_path):
    gates = [asyncio.Event(), asyncio.Event()]
    steps = [
        *half(LONG, gates[0], "\nand on")[:-1],
        gates[1],
        TextDelta(text="\n\nmore"),
        StreamFinished(reason="stop"),
    ]
    async with ready_desktop(tmp_path, steps) as desk:
        await desk.say("First", sees="Paragraph 79")
        await desk.press("pageup", sees="more below")
        gates[0].set()
        await shown(desk, "↓ new text  End")
        gates[1].set()
        await desk.pilot.click("MessageRow")
        await gone(desk, "End")
        assert desk.log_view.viewport.is_following
        assert desk.prompt_input.has_focus


async def test_end_follows_an_answer_of_which_nothing_is_above_the_screen_yet(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("A little.", gate, LONG)) as desk:
        await desk.say("First", sees="A little.")
        await desk.press("ctrl+f", "a", "escape", "end")
        gate.set()
        await shown(desk, "Paragraph 79")


async def test_home_and_end_in_an_empty_prompt_go_through_the_chat_whose_place_no_dialog_changes(
    tmp_path,
):
    async with ready_desktop(tmp_path, answer_steps(LONG), asked=["First of all"]) as desk:
        await gone(desk, "Paragraph 0 of")
        await desk.press("home", sees="Paragraph 0 of")
        assert desk.app.focused is desk.prompt_input
        await desk.press("end", hides="Paragraph 0 of")
        assert desk.log_view.viewport.is_following
        await desk.press("pageup")
        await desk.pilot.pause()
        before = desk.log_rows
        for over in ("f1", "ctrl+k", "ctrl+f"):
            await desk.press(over)
            for size in ((50, 14), (30, 9), (200, 60), (120, 40)):
                await desk.pilot.resize_terminal(*size)
            await desk.press("escape")
            await desk.until(lambda: desk.log_rows == before, "the same rows")
