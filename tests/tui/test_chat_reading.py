from __future__ import annotations

import asyncio

from lmchat.domain.event import StreamFinished, TextDelta
from tests.support.desktop import gone, half, ready_desktop, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps

LONG = "\n\n".join(f"Paragraph {number} of a long answer." for number in range(80))


async def test_a_queued_message_goes_out_without_taking_the_reader_along(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(
        tmp_path, half(LONG, gate), answer_steps("The second answer.")
    ) as desk:
        await desk.say("First", sees="Paragraph 79")
        await desk.press("pageup")
        await desk.say("Second", sees="queued")
        assert desk.log_view.viewport.is_following
        await desk.press("pageup", "pageup")
        await desk.pilot.pause()
        before = desk.log_rows
        gate.set()
        await desk.answered(2)
        assert desk.log_rows[: len(before)] == before  # the card above the prompt is gone
        await shown(desk, "new lines")
        await desk.press("end", sees="The second answer.")
        await gone(desk, "new lines")


async def test_the_pill_tells_one_line_and_more_and_a_click_on_it_goes_to_the_end(tmp_path):
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
        await shown(desk, "↓ 1 new line  End")
        gates[1].set()
        await shown(desk, "↓ 3 new lines  End")
        await desk.pilot.click("Pill")
        await gone(desk, "End")
        assert desk.log_view.viewport.is_following
        assert desk.prompt_input.has_focus


async def test_another_version_of_a_message_in_the_middle_stays_where_it_was(tmp_path):
    backend = ScriptedBackend(
        answer_steps(LONG), answer_steps("One way."), answer_steps("Another way.")
    )
    async with ready_desktop(tmp_path, asked=["First", "Second"], backend=backend) as desk:
        await desk.press("ctrl+r", sees="Another way.")
        await desk.answered(2)
        await desk.press("alt+up", "pageup")
        desk.log_view.show_message(desk.conversation.messages[-1].message_id)
        await desk.pilot.pause()
        row = next(at for at, text in enumerate(desk.text.splitlines()) if "Another way." in text)
        await desk.press("left_square_bracket", sees="One way.")
        assert "One way." in desk.text.splitlines()[row]
        assert desk.log_view.focused_message.text == "One way."


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


async def test_the_pill_fits_into_any_width_and_a_terminal_that_is_too_small_is_told(desk):
    desk.chat.widgets.prompt.pill.new_lines = 12_345
    for size in ((40, 12), (80, 24), (200, 60)):
        await desk.pilot.resize_terminal(*size)
        await shown(desk, "↓ 12 345 new lines  End")
    for size in ((39, 30), (90, 11), (20, 6)):
        await desk.pilot.resize_terminal(*size)
        await shown(desk, "40 × 12 needed")
        await desk.pilot.resize_terminal(size[0] + 40, 12)
        await gone(desk, "needed")
