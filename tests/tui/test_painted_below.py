"""What changes below a dialog: the dimmed chat goes on, and is not painted whole for that."""

from __future__ import annotations

from textual.geometry import Region

from lmchat.tui.screens.help_screen import HelpScreen


async def test_what_changes_below_a_dialog_is_painted_and_no_more(desk):
    await desk.press("f1", leads_to=HelpScreen)
    await desk.pilot.pause()
    help_screen, painted = desk.app.screen, []
    refresh = help_screen.refresh

    def note(*regions, **more):
        painted.extend(regions)
        return refresh(*regions, **more)

    help_screen.refresh = note
    for _ in range(3):
        painted.clear()
        desk.chat.widgets.title_line.refresh()
        await desk.until(lambda: painted, "a change below the help")
    title = desk.chat.widgets.title_line.region
    assert Region.from_union(painted) == title


async def test_what_changes_in_a_dialog_and_below_it_at_once_is_painted_in_both(desk):
    await desk.press("f1", leads_to=HelpScreen)
    await desk.pilot.pause()
    display, painted = desk.app._display, []

    def note(screen, update):
        painted.extend(getattr(update, "spans", ()))
        display(screen, update)

    desk.app._display = note
    inside, below = desk.app.screen.query_one("#dialog-keys"), desk.chat.widgets.title_line
    inside.refresh()
    desk.chat._compositor._dirty_regions.add(below.region)
    desk.chat._compositor_refresh()  # now: else it depends on which of two timers is first
    await desk.until(lambda: any(y == below.region.y for y, *_ in painted), "the change below")
    assert any(y == inside.region.y for y, *_ in painted)


async def test_after_the_dialog_all_that_changed_meanwhile_is_there(desk):
    await desk.press("f1", leads_to=HelpScreen)
    desk.chat.status.show_action("something else")
    await desk.pilot.pause()
    await desk.press("escape", sees="something else")
    assert "F1 help" in desk.text
