from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.finding import Finding, Grade, Group
from lmchat.services.examination import Check, Examination
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.doctor_screen import DoctorScreen
from tests.support.desktop import desktop
from tests.support.tui_host import Host, drawn, screen_text

HOME = "/home/ada"


def finding(
    name: str, grade: Grade = Grade.OK, cause: str = "All is well.", step: str = ""
) -> Finding:
    return Finding(Group.FILES, name.lower(), name, grade, cause, step)


def check(name: str, *findings: Finding, gate: asyncio.Event | None = None) -> Check:
    async def run():
        if gate is not None:
            await gate.wait()
        return findings

    return Check(name.lower(), Group.FILES, name, run)


def host(*checks: Check, **more) -> Host:
    examination = Examination(checks=checks, note_error=lambda error: "1a2b3c4d", home=HOME)
    return Host(screen=lambda: DoctorScreen(examination), **more)


async def shown(pilot, *words: str, press: str = "") -> str:
    """Wait until all of it stands on the screen, pressing a key; lines that were wrapped count as one."""
    text = ""
    for _ in range(400):
        if press:
            await pilot.press(press)
        text = " ".join(screen_text(pilot.app).split())
        if all(word in text for word in words):
            return text
        await pilot.pause(0.01)
    raise AssertionError((words, text))


async def test_a_row_stands_as_soon_as_its_check_has_ended():
    gate = asyncio.Event()
    late = check("Late", finding("Late", cause="Came at last."), gate=gate)
    app = host(check("Early", finding("Early", cause="Was first.")), late)
    async with app.run_test(size=(100, 30)) as pilot:
        text = await shown(pilot, "Was first.", "1 of 2 checked")
        assert "Came at last." not in text
        gate.set()
        text = await shown(pilot, "Came at last.", "no problems, no warnings in 2 checks")
        assert "checked" not in text


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_a_fault_has_a_shape_a_word_and_the_next_step_at_every_size(size):
    app = host(check("Store", finding("Sessions", Grade.FAULT, "It is damaged.", "cp a b")))
    async with app.run_test(size=size) as pilot:
        await shown(pilot, "problem Sessions It is damaged.", "next: cp a b")


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (40, 12)])
async def test_all_rows_can_be_reached(size):
    many = [finding(f"Row {number}", cause=f"Cause {number}.") for number in range(60)]
    async with drawn(host(check("Many", *many)), size) as (_, pilot):
        for key in ("end", "pagedown"):
            await shown(pilot, "Cause 59.", press=key)
            await shown(pilot, "Row 0", press="home")


async def test_r_looks_again():
    runs = []

    async def run():
        runs.append(1)
        return [finding("Count", cause=f"Run {len(runs)}.")]

    async with drawn(host(Check("count", Group.FILES, "Count", run)), (80, 24)) as (_, pilot):
        await shown(pilot, "Run 1.")
        await pilot.press("r")
        await shown(pilot, "Run 2.")


async def test_y_copies_the_report_without_the_name_of_the_home_folder():
    app = host(
        check(
            "Store", finding("Sessions", Grade.FAULT, f"{HOME}/x is damaged.", f"rm '{HOME}/a b'")
        )
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, "~/x is damaged.")
        await pilot.press("y")
        await pilot.pause()
        text = app.clipboard
    assert "problem" in text
    assert "~/x is damaged." in text
    assert "rm ~/'a b'" in text
    assert HOME not in text


async def test_it_opens_by_its_command_and_esc_closes_it_while_checks_hang(tmp_path):
    gate = asyncio.Event()
    async with desktop(tmp_path) as desk:
        desk.checks.append(check("Late", gate=gate))
        await desk.ready()
        await desk.say("/doctor", leads_to=DoctorScreen)
        await shown(desk.pilot, "0 of 1 checked")
        await desk.press("escape")
        await desk.on(ChatScreen)


async def test_the_report_is_copied_by_the_ways_of_this_terminal(tmp_path):
    async with desktop(tmp_path) as desk:
        desk.checks.append(check("Store", finding("Sessions", cause=f"{tmp_path}/lmchat is fine.")))
        await desk.ready()
        await desk.say("/doctor")
        await shown(desk.pilot, "~/lmchat is fine.")
        await desk.press("y")
        await desk.until(lambda: desk.copied, "the copy")
        assert str(tmp_path) not in desk.copied[0]
