from __future__ import annotations

from lmchat.app.tui.widgets.message_row import MessageRow
from tests.support.desktop import gone, make_desktop, ready_desktop, running, shown

LONG = "The disk is full, so nothing is saved from now on. Free some room, or export. " * 9


async def test_a_message_stands_above_the_prompt_in_up_to_three_rows_and_moves_nothing(tmp_path):
    async with ready_desktop(tmp_path, asked=["one"], size=(80, 24)) as desk:
        before = desk.text.split("\n")
        position = next(y for y, row in enumerate(before) if "Ask qwen3-8b" in row) - 1
        desk.app.notify("One went wrong.", severity="warning")
        await shown(desk, "One went wrong.")
        await desk.pilot.pause()
        rows = desk.text.split("\n")
        assert rows[position].strip() == "! One went wrong."
        assert [*rows[:position], *rows[position + 1 :]] == [
            *before[:position],
            *before[position + 1 :],
        ]
        desk.app.notify("Another did.")
        await shown(desk, "Another did.")
        await desk.pilot.pause()
        assert "One went wrong." not in desk.text
        desk.app.notify("Gone soon.", timeout=0.01)
        await gone(desk, "Gone soon.")
        assert desk.text.split("\n") == before

        desk.chat_screen.widgets.prompt_area.message_row.below = "new text"
        desk.app.notify("Exported to ~/notes/plan-for-the-garden.md")
        await shown(desk, "Exported")
        await desk.pilot.pause()
        row = next(row for row in desk.text.split("\n") if "Exported" in row)
        assert row.split() == [
            *["Exported", "to", "~/notes/plan-for-the-garden.md", "↓", "new", "text", "End"],
        ]
        desk.app.notify("Exported to ~/notes/plan-for-the-garden-on-the-north-side-of-the-house.md")
        await shown(desk, "north-side")
        await desk.pilot.pause()
        last = next(row for row in desk.text.split("\n") if "new text" in row)
        assert last.rstrip().endswith("↓ new text  End")
        await desk.pilot.click("MessageRow", offset=(2, 0))
        assert desk.text.count("Exported") == 1
        desk.chat_screen.widgets.prompt_area.message_row.below = ""
        for size in ((80, 24), (40, 12)):
            await desk.pilot.resize_terminal(*size)
            await desk.pilot.pause()
            height = desk.log_view.size.height
            desk.app.notify(LONG)
            await shown(desk, "The disk is full")
            await desk.pilot.pause()
            rows = desk.text.split("\n")
            position = next(y for y, row in enumerate(rows) if "Ask qwen3-8b" in row)
            told, _, rest = " ".join(" ".join(rows[position - 3 : position]).split()).partition("…")
            assert told
            assert not rest
            assert LONG.startswith(told.strip())
            assert desk.log_view.size.height == height


async def test_in_a_dialog_a_message_is_in_the_row_above_its_keys_and_there_alone(tmp_path):
    async with ready_desktop(tmp_path, size=(80, 24)) as desk:
        desk.app.notify("Told before.", timeout=600)
        await shown(desk, "Told before.")
        await desk.press("f1", sees="Esc close")
        await desk.pilot.pause()
        before = desk.text.split("\n")
        keys = next(y for y, row in enumerate(before) if "Esc close" in row)
        assert "Told before." not in before[keys - 1], "it stays on the screen where it was told"
        desk.app.notify("One went wrong.", severity="error")
        row = desk.app.screen.query_one(MessageRow)
        assert row.styles.height.value == 1, "fitted to its width in the first frame"
        await shown(desk, "One went wrong.")
        await desk.pilot.pause()
        rows = desk.text.split("\n")
        assert rows[keys - 1].strip() == "× One went wrong."
        assert [*rows[: keys - 1], *rows[keys:]] == [*before[: keys - 1], *before[keys:]]
        await desk.press("escape", hides="Esc close")
        await shown(desk, "One went wrong.")
        await desk.pilot.pause()
        assert desk.text.count("One went wrong.") == 1


async def test_all_notices_of_the_start_are_told(tmp_path):
    desk = make_desktop(tmp_path)
    desk.workspace.notices = ["state.toml could not be read.", "An old setting is retired."]
    async with running(desk):
        await shown(desk, "state.toml could not be read. An old setting is retired.")
        await desk.pilot.pause()
