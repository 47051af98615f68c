"""What changes below a dialog: the dimmed chat goes on, and is not painted whole for that."""

from __future__ import annotations

from textual.geometry import Region

from lmchat.tui.screens.help_screen import HelpScreen
from tests.support.tui_host import painted


async def test_what_changes_below_a_dialog_is_painted_and_no_more(desk):
    await desk.press("f1", leads_to=HelpScreen)
    await desk.pilot.pause()
    help_screen, changed = desk.app.screen, []
    refresh = help_screen.refresh

    def note(*regions, **more):
        changed.extend(regions)
        return refresh(*regions, **more)

    help_screen.refresh = note
    for _ in range(3):
        changed.clear()
        desk.chat.widgets.title_line.refresh()
        await desk.until(lambda: changed, "a change below the help")
    title = desk.chat.widgets.title_line.region
    assert Region.from_union(changed) == title
    desk.chat.status.show_action("something else")
    await desk.pilot.pause()
    await desk.press("escape", sees="something else")
    assert "F1 help" in desk.text


async def test_what_changes_in_a_dialog_and_below_it_at_once_is_painted_in_both(desk):
    await desk.press("f1", leads_to=HelpScreen)
    await desk.pilot.pause()
    display, rows = desk.app._display, []

    def note(screen, update):
        rows.extend(y for y, *_ in getattr(update, "spans", ()))
        display(screen, update)

    desk.app._display = note
    inside, below = desk.app.screen.query_one("#dialog-keys"), desk.chat.widgets.title_line
    with painted():
        inside.refresh()
        desk.chat._compositor._dirty_regions.add(below.region)
        desk.chat._compositor_refresh()  # now: else it depends on which of two timers is first
        await desk.until(lambda: below.region.y in rows, "the change below")
    assert inside.region.y in rows
