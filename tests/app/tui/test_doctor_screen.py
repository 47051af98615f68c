from __future__ import annotations

import asyncio

from lmchat.app.tui.dialogs.text_dialog import TextDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.workspace import Report
from lmchat.base.errors import WrongUse
from tests.support.desktop import desktop, shown


def report_of(width):
    return "\n".join(
        ["All is fine.", *(f"File {n} ".ljust(width - 1, "x") + "b" for n in range(60))]
    )


async def test_esc_closes_it_while_checks_hang_and_the_report_is_copied_by_the_ways_of_this_terminal(
    tmp_path,
):
    gate = asyncio.Event()

    async def examine():
        await gate.wait()
        return Report(report_of, "no problems, no warnings in 31 checks")

    def refuse():
        raise WrongUse("This build of lmchat has no doctor.")

    async with desktop(tmp_path) as desk:
        await desk.ready()
        desk.report = refuse
        await desk.say("/doctor", sees="This build of lmchat has no doctor.")
        assert isinstance(desk.app.screen, ChatScreen)
        desk.report = examine
        await desk.say("/doctor", leads_to=TextDialog, sees="Checking servers")
        await desk.press("escape", leads_to=ChatScreen)
        await desk.say("/doctor", leads_to=TextDialog)
        gate.set()
        await shown(desk, "All is fine.", "no problems, no warnings in 31 checks", "File 1")
        rows = [row.strip() for row in desk.text.splitlines()]
        assert "b" not in rows, "the report leaves room for the scroll bar"
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert "All is fine." in desk.copied[0]
