"""Checks of the doctor, which run all at once, and the report of what they found."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from itertools import groupby
from textwrap import TextWrapper
from typing import Any

from msgspec import Struct
from rich.cells import cell_len, set_cell_size

from lmchat.doctor.report import CheckResult, Grade, Group, Subject
from lmchat.errors import LMChatError
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line

LIMIT_S = 5.0  # time of a check, by default
NEXT = "next: "  # written before a next step
_STEP_IF_LATE = "Check the disk, network folder or program it waits for"
_GRADES_WITH_STEP = (Grade.FAULT, Grade.WARNING, Grade.NOT_TRIED)
_GAP = "  "  # before the first column, and after each
_UNLIMITED_WIDTH = 1_000_000  # characters; no text is wrapped

Findings = Sequence[CheckResult]
Paint = Callable[[str, Grade | None], str]
"""Returns a text in the colour of a grade; None is for headings."""


class Check(Struct, frozen=True):
    """A check of the doctor. If it fails or hangs, the report has one row that says so."""

    check: str  # name for scripts
    group: Group
    name: str  # name for people, until there are findings
    run: Callable[[], Any]  # returns `Findings`: a coroutine function, or one that blocks
    step_if_late: str = ""
    """Next step if the check takes too long; it is then "not tried". If empty, that is a fault."""
    limit_s: float = LIMIT_S


class Examination(Struct, frozen=True, kw_only=True):
    """All checks, which run at the same time, and what a report of them needs."""

    checks: tuple[Check, ...]
    note_error: Callable[[BaseException], str]  # logs an unexpected error and returns its id
    home: str = ""  # the user's folder, which a report writes as `~`

    async def run(self) -> AsyncGenerator[tuple[Check, Findings], None]:
        """Run all checks at once, and yield each check with its rows as soon as it ends.

        Close it with `aclosing`: checks that still run are then cancelled.
        """
        tasks = [
            asyncio.create_task(self._run_check(check), name=f"check {check.check}")
            for check in self.checks
        ]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for check_task in tasks:
                check_task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run_check(self, check: Check) -> tuple[Check, Findings]:
        """Run one check for at most `limit_s`, and return it with its rows.

        If it takes too long or raises an error, the only row says so.
        """
        grade = Grade.FAULT
        try:
            async with asyncio.timeout(check.limit_s):
                if inspect.iscoroutinefunction(check.run):
                    return check, await check.run()
                return check, await run_abandonable(check.run)
        except TimeoutError:
            if check.step_if_late:
                grade = Grade.NOT_TRIED
            cause = f"The check did not finish within {check.limit_s:g} s."
            step = check.step_if_late or _STEP_IF_LATE
        except LMChatError as error:
            cause = error.message
            step = error.hint
        except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
            error_id = self.note_error(error)
            cause = f"The check itself failed ({type(error).__name__}, error {error_id})."
            step = "The log file has details under this id"
        subject = Subject(check.group, check.check, check.name)
        return check, [subject.graded(grade, cause, step)]

    def in_order(self, findings_by_check: Mapping[str, Findings]) -> list[CheckResult]:
        """Return the rows of the checks that have ended, sorted by heading, then by check.

        `findings_by_check` has the rows by the name of the check for scripts.
        """
        headings = list(Group)
        rows: list[CheckResult] = []
        for check in self.checks:
            rows += findings_by_check.get(check.check, ())
        return sorted(rows, key=lambda row: headings.index(row.group))


def worst(findings: Findings) -> Grade:
    """Return `FAULT` if any row is one, else `WARNING` if any row is one, else `OK`."""
    grades = {finding.grade for finding in findings}
    for grade in (Grade.FAULT, Grade.WARNING):
        if grade in grades:
            return grade
    return Grade.OK


def report_text(
    findings: Findings,
    *,
    home: str = "",
    width: int = _UNLIMITED_WIDTH,
    paint: Paint = lambda text, _grade: text,
) -> str:
    """Return the report: the rows below their headings, and the line of `summary`.

    `findings` are sorted by heading, as `Examination.in_order` returns them. A row has the columns
    grade, name and texts; lines are wrapped at `width` characters. `home` is the user's folder,
    which is written as `~`. `paint` colours grades and headings.
    """
    grade_width = max((len(finding.grade.label) for finding in findings), default=0)
    name_width = max((cell_len(safe_line(finding.name)) for finding in findings), default=0)
    indent = " " * (grade_width + name_width + 3 * len(_GAP))
    wrapper = TextWrapper(
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines: list[str] = []
    for group, rows in groupby(findings, lambda finding: finding.group):
        lines.append(paint(group.value, None))
        for finding in rows:
            label = finding.grade.label
            padding = " " * (grade_width - len(label))
            name = set_cell_size(safe_line(finding.name), name_width)
            texts: list[str] = []
            for text in texts_of(finding, home):
                texts += wrapper.wrap(text)
            # as wide as `indent`, whose place these columns take in the first line
            columns = f"{_GAP}{paint(label, finding.grade)}{padding}{_GAP}{name}{_GAP}"
            lines.append(columns + texts[0].removeprefix(indent))
            lines += texts[1:]
        lines.append("")
    return "\n".join([*lines, summary(findings)])


def texts_of(finding: CheckResult, home: str) -> list[str]:
    """Return the cause of a row, and its next step if it has one and its grade needs one.

    In both, `home`, the user's folder, is written as `~`.
    """
    texts = [finding.cause]
    if finding.next_step and finding.grade in _GRADES_WITH_STEP:
        texts.append(f"{NEXT}{finding.next_step}")
    return [without_home(safe_line(text), home) for text in texts]


def summary(findings: Findings) -> str:
    """Return a line such as "1 problem, 2 warnings in 30 checks"; each row counts as a check."""
    counts = _counts(findings)
    counted: list[str] = []
    for grade in (Grade.FAULT, Grade.WARNING):
        if counts[grade]:
            plural = "" if counts[grade] == 1 else "s"
            counted.append(f"{counts[grade]} {grade.label}{plural}")
    problems = ", ".join(counted) or "no problems, no warnings"
    return f"{problems} in {len(findings)} checks"


def report_json(findings: Findings, timestamp: str) -> dict[str, object]:
    """Return the document of `lmchat doctor --json`, whose keys never change."""
    counts = _counts(findings)
    return {
        "healthy": worst(findings) is not Grade.FAULT,
        "verdict": worst(findings),
        "counts": {grade.replace(" ", "_"): count for grade, count in counts.items()},
        "checks": [
            {
                "check": finding.check,
                "group": finding.group,
                "name": finding.name,
                "verdict": finding.grade,
                "cause": finding.cause,
                "next_step": finding.next_step or None,
            }
            for finding in findings
        ],
        "timestamp": timestamp,
    }


def _counts(findings: Findings) -> dict[Grade, int]:
    """Return the number of rows by grade, also of grades that no row has."""
    counts = dict.fromkeys(Grade, 0)
    for finding in findings:
        counts[finding.grade] += 1
    return counts


def without_home(text: str, home: str) -> str:
    """Return a text with `~` for the user's folder, to keep the user's name private.

    Quoted paths stay valid for a shell: '/home/ann/a b' becomes ~/'a b'. A longer path or name
    stays as it is: /mnt/home/ann, /home/anna.
    """
    home = home.rstrip("/")
    if not home:
        return text
    text = text.replace(f"'{home}/", "~/'")
    # before it, no character of a name or path; behind it, none that would make a longer name
    return re.sub(rf"(?<![\w./-]){re.escape(home)}(?![\w.-])", "~", text)
