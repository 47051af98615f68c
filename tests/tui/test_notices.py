from __future__ import annotations

from tests.support.desktop import ready_desktop, shown


async def test_warnings_add_up_each_shown_once_and_cover_neither_the_title_nor_the_end_of_the_log(
    tmp_path,
):
    async with ready_desktop(tmp_path, size=(80, 24)) as desk:
        desk.app.notify("One went wrong.", severity="warning", markup=False)
        desk.app.notify("Another did.", severity="warning", markup=False)
        await shown(desk, "Another did.")
        rows = desk.text.split("\n")
        assert "New session" in rows[0]
        assert [("One" in row, "Another" in row) for row in rows[1:3]] == [
            (True, False),
            (False, True),
        ]
        desk.app.notify("One went wrong.", severity="warning")
        await desk.pilot.pause()
        assert desk.text.count("One went wrong.") == 1, "it is still shown"


async def test_on_a_low_screen_the_newest_two_are_shown(tmp_path):
    for height, rest in ((24, ["Three.", "Four."]), (30, ["One.", "Two.", "Three.", "Four."])):
        async with ready_desktop(tmp_path, size=(80, height)) as desk:
            for words in ("One.", "Two.", "Three.", "Four."):
                desk.app.notify(words)
            await shown(desk, "Four.")
            assert [
                word for word in desk.text.split() if word in ("One.", "Two.", "Three.", "Four.")
            ] == rest


async def test_one_covers_no_row_of_a_dialog_that_fills_the_screen(tmp_path):
    async with ready_desktop(tmp_path, size=(80, 24)) as desk:
        await desk.press("f1", sees="Commands")
        before = desk.text.split("\n")
        desk.app.notify("One went wrong.", severity="warning")
        await shown(desk, "One went wrong.")
        rows = desk.text.split("\n")
        assert rows[1:] == before[1:]
        assert not before[0].strip()
