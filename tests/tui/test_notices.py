from __future__ import annotations

from datetime import timedelta

from lmchat.domain.message import now
from tests.support.desktop import ready_desktop, shown


async def test_a_notification_replaces_the_one_before_it(desk):
    for size in ((120, 40), (80, 24), (40, 12)):
        await desk.pilot.resize_terminal(*size)
        for number in range(3):
            words = f"Number {number}"
            desk.app.notify(words, markup=False)
            await desk.until(
                lambda words=words: words in desk.text.split("\n")[1 + (desk.app.size[1] > 24)],
                words,
            )
        assert desk.text.count("Number") == 1


async def test_warnings_add_up_and_cover_neither_the_title_nor_the_end_of_the_log(tmp_path):
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
        await desk.press("ctrl+p", sees="Commands")
        await desk.until(lambda: "Another" in desk.text.split("\n")[-2], "them below the dialog")
        assert desk.text.count("Another") == 1


async def test_a_message_of_another_day_has_its_date(tmp_path):
    day = now() - timedelta(days=400)
    async with ready_desktop(tmp_path, asked=["garden"], moment=lambda: day) as desk:
        said = desk.conversation.messages[0].created_at.astimezone()
        await shown(desk, f"{said.day} {said:%b %Y}")
    async with ready_desktop(tmp_path, asked=["garden"]) as desk:
        assert f"{said.day} {said:%b}" not in desk.text
