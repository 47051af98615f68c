from __future__ import annotations

import asyncio
import json
import threading
from functools import partial

from lmchat.app.leaves.doctor.finding import Finding, FindRows, Grade, Group, RowOf, run_checks
from lmchat.app.leaves.doctor.report import report_json, report_text, worst_grade
from lmchat.base.errors import StoreUnavailable
from lmchat.base.processes.background import in_thread


def row(
    name: str = "x",
    grade: Grade = Grade.OK,
    cause: str = "So it is.",
    step: str = "",
    group: Group = Group.FILES,
) -> Finding:
    return Finding(group, name, name, grade, cause, step)


def check(name: str, run) -> tuple[RowOf, FindRows]:
    return partial(Finding, Group.FILES, name, name.title()), run


async def good() -> list[Finding]:
    return [row("good")]


async def hang():
    await asyncio.Event().wait()


async def all_of(*checks: tuple[RowOf, FindRows], limit_s: float = 15.0) -> dict[str, Finding]:
    found = await run_checks(checks, limit_s=limit_s)
    return {row.check: row for row in found}


async def test_a_check_that_raises_is_reported_without_its_words_unless_they_are_of_lmchat(caplog):
    async def run():
        raise KeyError("sk-secret")

    async def say():
        raise StoreUnavailable("The file is locked.", next_step="Close the other one.")

    found = await all_of(check("bad", run), check("store", say), check("good", good))
    assert found["good"].grade is Grade.OK
    assert found["bad"].grade is found["store"].grade is Grade.FAULT
    assert "KeyError" in found["bad"].cause
    error_id = caplog.messages[-1].rpartition(" ")[2]  # the user finds the details under it
    assert f"error {error_id})" in found["bad"].cause
    assert "secret" not in found["bad"].cause
    told = found["store"].cause, found["store"].next_step
    assert told == ("The file is locked.", "Close the other one.")


async def test_a_check_or_thread_that_hangs_is_reported_and_stops_none_of_the_others():
    gate = threading.Event()
    found = await all_of(
        check("late", hang), check("disk", in_thread(gate.wait)), check("good", good), limit_s=0.5
    )
    gate.set()
    assert found["good"].grade is Grade.OK
    for late in (found["late"], found["disk"]):
        assert (late.grade, "0.5 s" in late.cause) == (Grade.FAULT, True)
        assert late.next_step.startswith("Check the disk, network folder")


def test_together_they_are_as_bad_as_the_worst_and_what_is_absent_is_no_harm():
    assert worst_grade([]) is Grade.OK
    assert worst_grade([row(grade=Grade.ABSENT), row()]) is Grade.OK
    assert worst_grade([row(grade=Grade.WARNING), row()]) is Grade.WARNING
    assert worst_grade([row(grade=Grade.WARNING), row(grade=Grade.FAULT)]) is Grade.FAULT


ROWS = [
    row("Jan", Grade.FAULT, "It wants a key.", "Settings", Group.SERVERS),
    row("模型", Grade.ABSENT, "Nothing answers.", "start it", Group.SERVERS),
    row("Folder", Grade.OK, "/home/ada/x is fine."),
]


def test_columns_are_aligned_and_a_step_is_told_only_where_one_is_needed():
    assert report_text(ROWS).splitlines() == [
        "Servers",
        "  problem  Jan     It wants a key.",
        "                   next: Settings",
        "  absent   模型    Nothing answers.",
        "",
        "Files",
        "  ok       Folder  /home/ada/x is fine.",
        "",
        "1 problem in 3 checks",
    ]


def test_what_came_from_outside_is_made_safe():
    text = report_text([row("a\x1b[2J", Grade.FAULT, "b\n\u202ec", "d\x07")])
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert len(text.splitlines()) == 5


def test_the_document_has_stable_keys_and_all_steps():
    value = json.loads(json.dumps(report_json(ROWS, "2026-11-20T08:00:00.000Z")))
    assert list(value) == ["healthy", "verdict", "counts", "checks", "timestamp"]
    assert (value["healthy"], value["verdict"]) == (False, "fault")
    assert value["counts"] == {"ok": 1, "warning": 0, "fault": 1, "absent": 1}
    assert value["checks"][1]["next_step"] == "start it"
    assert value["checks"][2]["next_step"] is None
