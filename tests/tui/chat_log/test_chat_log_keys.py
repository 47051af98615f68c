from __future__ import annotations

from tests.support.chat_log_app import answer, load, question, rows, screen_text


def bars(log):
    """Which rows have the bar of the focus."""
    primary = log.get_component_rich_style("chat-log--focus", partial=True).color
    strips = log.render_lines(log.size.region)
    return [
        y
        for y, strip in enumerate(strips)
        if any(segment.text == "▌" and segment.style.color == primary for segment in strip)
    ]


async def test_the_focus_moves_from_message_to_message_and_stops_at_both_ends(log):
    log.show([question("one"), answer("two"), question("three")])
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


async def test_only_the_focused_message_has_the_bar_and_only_while_the_log_has_the_focus(
    pilot, log
):
    log.show([question("one"), answer("two")])
    assert bars(log) == []
    log.focus_message(-1)
    await pilot.pause()
    assert bars(log) == [2, 3, 4, 5]
    log.focus_message(-1)
    await pilot.pause()
    assert bars(log) == [0]
    pilot.app.query_one("Input").focus()
    await pilot.pause()
    assert bars(log) == []


async def test_source_and_rendered_text_take_turns(pilot, log):
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
