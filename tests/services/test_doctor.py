from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import aclosing

from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.errors import StoreUnavailable
from lmchat.services.doctor import Check, Examination, worst
from lmchat.threads import apart


def finding(name: str = "x", grade: Grade = Grade.OK, group: Group = Group.FILES) -> Finding:
    return Finding(check=name, group=group, name=name, grade=grade, cause="So it is.")


def check(name: str, run, group: Group = Group.FILES, step: str = "look there") -> Check:
    return Check(check=name, group=group, name=name.title(), run=run, step_if_late=step)


def good(name: str = "good", group: Group = Group.FILES) -> Check:
    async def run():
        return [finding(name, group=group)]

    return check(name, run, group)


async def all_of(*checks: Check, limit_s: float = 5.0) -> dict[str, Finding]:
    noted: list[BaseException] = []

    def note(error: BaseException) -> str:
        noted.append(error)
        return "deadbeef"

    examination = Examination(checks=checks, note_error=note)
    async with aclosing(examination.run(limit_s=limit_s)) as examined:
        return {check.check: findings[0] async for check, findings in examined}


async def test_checks_run_at_the_same_time():
    both = asyncio.Barrier(2)

    async def run():
        await both.wait()
        return [finding()]

    assert len(await all_of(check("a", run), check("b", run))) == 2


async def test_a_check_that_raises_is_reported_by_the_id_of_the_log_and_without_its_words():
    async def run():
        raise KeyError("sk-secret")

    found = await all_of(check("bad", run), good())
    assert found["good"].grade is Grade.OK
    assert found["bad"].grade is Grade.FAULT
    assert "KeyError" in found["bad"].cause
    assert "deadbeef" in found["bad"].cause
    assert "secret" not in found["bad"].cause


async def test_what_lmchat_itself_says_is_a_fault_with_its_hint():
    async def run():
        raise StoreUnavailable("The file is locked.", hint="Close the other one.")

    found = (await all_of(check("store", run)))["store"]
    assert (found.grade, found.cause, found.next_step) == (
        Grade.FAULT,
        "The file is locked.",
        "Close the other one.",
    )


async def test_a_check_that_hangs_is_reported_and_stops_none_of_the_others():
    async def run():
        await asyncio.Event().wait()

    found = await all_of(check("late", run), good(), limit_s=0.05)
    assert found["good"].grade is Grade.OK
    assert (found["late"].grade, found["late"].next_step) == (Grade.FAULT, "look there")
    assert "0.05 s" in found["late"].cause


async def test_a_thread_that_hangs_is_not_waited_for():
    gate = threading.Event()
    found = await all_of(check("disk", lambda: apart(gate.wait)), good(), limit_s=0.05)
    gate.set()
    assert found["disk"].grade is Grade.FAULT
    assert found["good"].grade is Grade.OK


async def test_what_fails_in_a_thread_arrives():
    def look():
        raise OSError(5, "Input/output error")

    assert "OSError" in (await all_of(check("disk", lambda: apart(look))))["disk"].cause


def test_a_program_ends_although_a_check_of_it_hangs():
    code = (
        "import asyncio, threading\n"
        "from lmchat.threads import apart\n"
        "async def main():\n"
        "    try:\n"
        "        await asyncio.wait_for(apart(threading.Event().wait), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('left')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")


async def test_leaving_early_leaves_no_check_running():
    ended = asyncio.Event()

    async def run():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    examination = Examination(checks=(good(), check("late", run)), note_error=lambda _: "")
    async with aclosing(examination.run()) as examined:
        await anext(examined)
    assert ended.is_set()


async def test_rows_stand_in_the_order_of_the_headings_however_they_came():
    checks = (good("engine", Group.ENGINE), good("a", Group.SERVERS), good("b", Group.FILES))
    examination = Examination(checks=checks, note_error=lambda _: "")
    async with aclosing(examination.run()) as examined:
        done = [(check.check, findings) async for check, findings in examined]
    assert [one.check for one in examination.in_order(dict(done[::-1]))] == ["a", "b", "engine"]


def test_together_they_are_as_bad_as_the_worst_and_what_is_absent_is_no_harm():
    assert worst([]) is Grade.OK
    assert worst([finding(grade=Grade.ABSENT), finding(grade=Grade.NOT_TRIED)]) is Grade.OK
    assert worst([finding(grade=Grade.WARNING), finding()]) is Grade.WARNING
    assert worst([finding(grade=Grade.WARNING), finding(grade=Grade.FAULT)]) is Grade.FAULT
