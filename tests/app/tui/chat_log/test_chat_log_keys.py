from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.sessions.message import Role, ToolCallPart, ToolResultPart, text_message
from tests.support.chat_log_app import answer, load, question, rows, screen_text


async def test_the_focus_moves_from_message_to_message_and_stops_at_both_ends(log):
    log.show([question("one"), answer("two"), question("three")])
    assert not log.focus_message(1)
    assert log.focused_message is None
    seen = []
    for _ in range(4):
        assert log.focus_message(-1)
        seen.append(log.focused_message.text)
    assert seen == ["three", "two", "one", "one"]
    assert not log.viewport.is_following
    assert log.focus_message(1)
    assert log.focused_message.text == "two"
    assert log.focus_message(1)
    assert log.viewport.is_following
    assert not log.focus_message(1)
    assert log.viewport.is_following
    call = ToolCallPart(call_id="a", name="read", arguments="{}")
    calling = [replace(answer(text), parts=(*answer(text).parts, call)) for text in ("so", "")]
    ran = replace(text_message(Role.TOOL, ""), parts=(call, ToolResultPart(text="moss")))
    log.show([question("one"), calling[0], ran, calling[1], ran, answer("two")])
    kinds = []
    while log.focused_message is None or log.focused_message.role is not Role.USER:
        assert log.focus_message(-1)
        kinds.append(log.focused_message.text or log.focused_message.role)
    assert kinds == ["two", Role.TOOL, Role.TOOL, "so", "one"]  # what has no words has no focus


async def test_source_and_rendered_text_take_turns(pilot, log):
    log.toggle("is_source")  # of no message
    log.show([answer("**bold**")])
    log.focus_message(-1)
    assert "**bold**" not in screen_text(log)
    await pilot.press("s")
    assert "**bold**" in screen_text(log)
    await pilot.press("s")
    assert "**bold**" not in screen_text(log)


async def test_the_row_of_folded_reasoning_stays_in_its_place_when_it_opens(pilot, log):
    await load(
        pilot,
        *(question(f"Question {n}") for n in range(30)),
        answer("end", thought="step\n\n" * 50),
    )
    log.focus_message(-1)
    position = next(y for y, row in enumerate(rows(log)) if "+ thought" in row)
    await pilot.press("enter")
    assert rows(log)[position].strip("▌ ") == "qwen3-8b  - thought"
    assert "step" in rows(log)[position + 1]
