"""What is marked in a log, and a mouse that selects in it."""

from __future__ import annotations

from textual.events import Click, MouseMove, MouseUp
from textual.pilot import Pilot

from lmchat.tui.widgets.chat_log import ChatLog


def marked(log: ChatLog, name: str = "hit") -> list[str]:
    """The texts that are painted as hits, or as the current one, row by row."""
    style = log.get_component_rich_style(f"chat-log--{name}", partial=True)
    wanted = style.bold, style.underline, style.reverse
    found = []
    for strip in log.render_lines(log.size.region):
        was = False
        for segment in strip:
            look = segment.style
            is_hit = (look.bold, look.underline, look.reverse) == wanted
            if is_hit and was:
                found[-1] += segment.text
            elif is_hit:
                found.append(segment.text)
            was = is_hit
    return found


def chosen(log: ChatLog) -> list[str]:
    """What is painted as selected, row by row."""
    ground = log.get_component_rich_style("chat-log--selected").bgcolor
    rows = (
        "".join(segment.text for segment in strip if segment.style and segment.style.bgcolor == ground)
        for strip in log.render_lines(log.size.region)
    )
    return [row for row in rows if row]


async def move(pilot: Pilot, log: ChatLog, offset: tuple[int, int], *, button: int = 1) -> None:
    """Move the mouse with a button held; also to where the log is not."""
    event = MouseMove(
        log, *offset, 0, 0, button=button, shift=False, meta=False, ctrl=False, screen_x=0, screen_y=0
    )
    log.post_message(event)
    await pilot.pause()


async def drag(
    pilot: Pilot, log: ChatLog, start: tuple[int, int], *places: tuple[int, int], shift=False
) -> None:
    """Press, move and let go."""
    await pilot.mouse_down(log, offset=start, shift=shift)
    for place in places:
        await move(pilot, log, place)
    end = places[-1] if places else start
    await pilot._post_mouse_events([MouseUp, Click], log, offset=end, button=1)  # as a terminal has it
    await pilot.pause()


async def press(pilot: Pilot, log: ChatLog, offset: tuple[int, int], times: int = 1) -> None:
    """Press and let go so many times on one cell."""
    for _ in range(times):
        await pilot.mouse_down(log, offset=offset)
        await pilot.mouse_up(log, offset=offset)
    await pilot.pause()
