from __future__ import annotations

import asyncio

from lmchat.doctor.finding import Check, Finding, Grade, Group
from lmchat.tui.dialogs.text_dialog import TextDialog
from lmchat.tui.screen import ChatScreen
from tests.support.desktop import desktop, shown


def finding(name: str, *, cause: str) -> Finding:
    return Finding(Group.FILES, name.lower(), name, Grade.OK, cause, "")


def check(name: str, *findings: Finding, gate: asyncio.Event | None = None):
    async def run():
        if gate is not None:
            await gate.wait()
        return findings

    return Check(Group.FILES, name.lower(), name), run


async def test_esc_closes_it_while_checks_hang_and_the_report_is_copied_by_the_ways_of_this_terminal(
    tmp_path,
):
    gate = asyncio.Event()
    fine = finding("Sessions", cause="All is fine.")
    long = [finding(f"File {n}", cause="x" * (1 + n % 2) + " b" * 60 + ".") for n in range(30)]
    async with desktop(tmp_path) as desk:
        desk.checks.append(check("Store", fine, *long, gate=gate))
        await desk.ready()
        await desk.say("/doctor", leads_to=TextDialog)
        await shown(desk, "Checking servers")
        await desk.press("escape", leads_to=ChatScreen)
        await desk.say("/doctor", leads_to=TextDialog)
        await shown(desk, "Checking servers")
        gate.set()
        await shown(desk, "All is fine.", "no problems, no warnings in 31 checks")
        await shown(desk, "File 1")
        rows = [row.strip() for row in desk.text.splitlines()]
        assert "b" not in rows, "the report leaves room for the scroll bar"
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert "All is fine." in desk.copied[0]
