from __future__ import annotations

import asyncio

from lmchat.doctor.report import Check, CheckResult, Grade, Group, run_checks
from lmchat.tui.dialogs.doctor_screen import DoctorScreen
from lmchat.tui.screen import ChatScreen
from tests.support.desktop import desktop
from tests.support.tui_host import Host, screen_text


def finding(name: str, *, cause: str) -> CheckResult:
    return CheckResult(Group.FILES, name.lower(), name, Grade.OK, cause, "")


def check(name: str, *findings: CheckResult, gate: asyncio.Event | None = None) -> Check:
    async def run():
        if gate is not None:
            await gate.wait()
        return findings

    return Check(name.lower(), Group.FILES, name, run)


def host(*checks: Check) -> Host:
    return Host(screen=lambda: DoctorScreen(lambda: run_checks(checks, lambda _: "1a2b3c4d")))


async def shown(pilot, *words: str) -> str:
    """Wait until all of it stands on the screen; lines that were wrapped count as one."""
    text = ""
    for _ in range(400):
        text = " ".join(screen_text(pilot.app).split())
        if all(word in text for word in words):
            return text
        await pilot.pause(0.01)
    raise AssertionError((words, text))


async def test_the_report_says_what_was_found():
    early, late = (
        check("Early", finding("Early", cause="Came first.")),
        check("Late", finding("Late", cause="All is well.")),
    )
    async with host(early, late).run_test(size=(100, 30)) as pilot:
        await shown(pilot, "Came first.", "All is well.", "no problems, no warnings in 2 checks")


async def test_esc_closes_it_while_checks_hang_and_the_report_is_copied_by_the_ways_of_this_terminal(
    tmp_path,
):
    gate = asyncio.Event()
    fine = finding("Sessions", cause="All is fine.")
    async with desktop(tmp_path) as desk:
        desk.checks.append(check("Store", fine, gate=gate))
        await desk.ready()
        await desk.say("/doctor", leads_to=DoctorScreen)
        await shown(desk.pilot, "Checking servers")
        await desk.press("escape", leads_to=ChatScreen)
        await desk.say("/doctor", leads_to=DoctorScreen)
        await shown(desk.pilot, "Checking servers")
        gate.set()
        await shown(desk.pilot, "All is fine.")
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert "All is fine." in desk.copied[0]
