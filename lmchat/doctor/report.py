"""Checks of the doctor, which run side by side, and the report of what they found."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import groupby
from textwrap import TextWrapper
from typing import Any

from msgspec import Struct
from rich.cells import cell_len, set_cell_size

from lmchat.errors import LMChatError
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import safe_line

_LIMIT_S = 15.0  # finding servers takes up to 5 s, and tool servers have 8 s to start
_GAP = "  "  # before the first column, and after each
_UNLIMITED_WIDTH = 1_000_000  # characters; no text is wrapped


class Grade(StrEnum):
    """Grade of a row, as scripts read it."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    ABSENT = "absent"
    NOT_TRIED = "not tried"

    @property
    def label(self) -> str:
        """Word for people."""
        return "problem" if self is Grade.FAULT else self.value


class Group(StrEnum):
    """Heading in the report of the doctor, in the order of the report."""

    SERVERS = "Servers"
    KEYS = "API keys"
    FILES = "Files"
    TERMINAL = "Terminal"
    ENGINE = "Built-in engine"
    TOOLS = "Tools"
    PROGRAM = "lmchat"


class CheckResult(Struct, frozen=True):
    """One row of the report of the doctor."""

    group: Group
    check: str  # name for scripts, as `store.whole`
    name: str
    grade: Grade
    cause: str
    next_step: str = ""


Findings = Sequence[CheckResult]
Paint = Callable[[str, Grade | None], str]
"""Returns a text in the colour of a grade; None is for headings."""


class Check(Struct, frozen=True):
    """A check of the doctor. If it fails or hangs, the report has one row that says so."""

    check: str  # name for scripts
    group: Group
    name: str  # name for people
    run: Callable[[], Any]  # returns `Findings`: a coroutine function, or one that blocks


class Examination(Struct, frozen=True, kw_only=True):
    """All checks, and what a report of them needs."""

    checks: tuple[Check, ...]
    note_error: Callable[[BaseException], str]  # logs an unexpected error and returns its id
    home: str = ""  # the user's folder, which a report writes as `~`
    limit_s: float = _LIMIT_S  # time of a check

    async def run(self) -> list[CheckResult]:
        """Run all checks at once; return their rows, sorted by heading, then by check."""
        found = await asyncio.gather(*map(self._run_check, self.checks))
        headings = list(Group)
        rows = [row for rows in found for row in rows]
        return sorted(rows, key=lambda row: headings.index(row.group))

    async def _run_check(self, check: Check) -> list[CheckResult]:
        try:
            async with asyncio.timeout(self.limit_s):
                if inspect.iscoroutinefunction(check.run):
                    return [*await check.run()]
                return [*await run_abandonable(check.run)]
        except TimeoutError:
            cause = f"The check did not finish within {self.limit_s:g} s."
            step = "Check the disk, network folder or program it waits for"
        except LMChatError as error:
            cause, step = error.message, error.hint or "lmchat config check"
        except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
            error_id = self.note_error(error)
            cause = f"The check itself failed ({type(error).__name__}, error {error_id})."
            step = "The log file has details under this id"
        return [CheckResult(check.group, check.check, check.name, Grade.FAULT, cause, step)]


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

    A row has the columns grade, name and texts; lines are wrapped at `width` characters. `home` is
    the user's folder, which is written as `~`. `paint` colours grades and headings.
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
            texts = [finding.cause]
            if finding.next_step and finding.grade not in (Grade.OK, Grade.ABSENT):
                texts.append(f"next: {finding.next_step}")
            wrapped: list[str] = []
            for text in texts:
                wrapped += wrapper.wrap(without_home(safe_line(text), home))
            label = finding.grade.label
            padding = " " * (grade_width - len(label))
            name = set_cell_size(safe_line(finding.name), name_width)
            # as wide as `indent`, whose place these columns take in the first line
            columns = f"{_GAP}{paint(label, finding.grade)}{padding}{_GAP}{name}{_GAP}"
            lines.append(columns + wrapped[0].removeprefix(indent))
            lines += wrapped[1:]
        lines.append("")
    return "\n".join([*lines, summary(findings)])


def summary(findings: Findings) -> str:
    """Return a line such as "1 problem, 2 warnings in 30 checks"; each row counts as a check."""
    counted: list[str] = []
    for grade in (Grade.FAULT, Grade.WARNING):
        count = _count(findings, grade)
        if count:
            counted.append(f"{count} {grade.label}{'' if count == 1 else 's'}")
    problems = ", ".join(counted) or "no problems, no warnings"
    return f"{problems} in {len(findings)} checks"


def report_json(findings: Findings, timestamp: str) -> dict[str, object]:
    """Return the document of `lmchat doctor --json`, whose keys never change."""
    return {
        "healthy": worst(findings) is not Grade.FAULT,
        "verdict": worst(findings),
        "counts": {grade.replace(" ", "_"): _count(findings, grade) for grade in Grade},
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


def _count(findings: Findings, grade: Grade) -> int:
    return sum(finding.grade is grade for finding in findings)


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
