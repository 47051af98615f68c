"""Runs all checks at once; one that fails or hangs is a row of the report and stops none of the others."""

from __future__ import annotations

import asyncio
import re
import textwrap
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from msgspec import Struct
from rich.cells import cell_len

from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.errors import LMChatError
from lmchat.text import safe_line

LIMIT_S = 5.0
"""Of each check that does not limit itself: as long as looking for servers may take."""
_WORST = (Grade.FAULT, Grade.WARNING)


class Check(Struct, frozen=True, kw_only=True):
    """Something to look at."""

    check: str
    """Its name for scripts."""
    group: Group
    """Under which heading its rows stand."""
    name: str
    """Its name for people, until and unless it tells more."""
    run: Callable[[], Awaitable[Sequence[Finding]]]
    """Looks, and changes nothing that it does not put back."""
    step_if_late: str = "Look at what it waits for: a disk, a network folder or a program that hangs"
    """What helps where it does not end."""
    grade_if_late: Grade = Grade.FAULT
    """How bad that is."""
    limit_s: float | None = None
    """How long it may take, where that is not as for all."""


class Examined(Struct, frozen=True, kw_only=True):
    """One check that has ended."""

    check: Check
    """Which."""
    findings: tuple[Finding, ...]
    """Its rows."""


class Examination(Struct, frozen=True, kw_only=True):
    """All that a page needs to show the doctor at work."""

    checks: tuple[Check, ...]
    """What is looked at."""
    note_error: Callable[[BaseException], str]
    """Puts an error that nobody expected into the log; returns the id under which it stands."""
    home: str = ""
    """The user's folder, which a report does not name."""

    def run(self) -> AsyncGenerator[Examined, None]:
        """Run all checks; close it with `aclosing`."""
        return examine(self.checks, note_error=self.note_error)


async def examine(
    checks: Sequence[Check],
    *,
    note_error: Callable[[BaseException], str],
    limit_s: float = LIMIT_S,
) -> AsyncGenerator[Examined, None]:
    """Run all checks at once and yield each as it ends; close it with `aclosing`.

    Args:
        checks: What to look at.
        note_error: Puts an error that nobody expected into the log; returns the id under which it stands.
        limit_s: How long one may take.
    """
    tasks = [
        asyncio.create_task(_run(check, note_error, limit_s), name=f"check {check.check}") for check in checks
    ]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for started in tasks:
            started.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def worst(findings: Sequence[Finding]) -> Grade:
    """Return how well all is together: a fault, else a warning, else ok."""
    grades = {finding.grade for finding in findings}
    return next((grade for grade in _WORST if grade in grades), Grade.OK)


def in_order(examined: Sequence[Examined], checks: Sequence[Check]) -> list[Finding]:
    """Return all rows in the order of the headings, and below a heading in that of the checks."""
    by_check = {one.check.check: one.findings for one in examined}
    found = [finding for check in checks for finding in by_check.get(check.check, ())]
    groups = list(Group)
    return sorted(found, key=lambda finding: groups.index(finding.group))


async def _run(check: Check, note_error: Callable[[BaseException], str], limit_s: float) -> Examined:
    limit_s = limit_s if check.limit_s is None else check.limit_s
    try:
        async with asyncio.timeout(limit_s):
            findings = tuple(await check.run())
    except TimeoutError:
        findings = (
            _own(
                check,
                check.grade_if_late,
                f"The check did not end within {limit_s:g} s.",
                check.step_if_late,
            ),
        )
    except LMChatError as error:
        findings = (_own(check, Grade.FAULT, error.message, error.hint),)
    except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
        error_id = note_error(error)
        findings = (
            _own(
                check,
                Grade.FAULT,
                f"The check itself failed ({type(error).__name__}, error {error_id}).",
                "The log file has the details under this id",
            ),
        )
    return Examined(check=check, findings=findings)


def _own(check: Check, grade: Grade, cause: str, next_step: str) -> Finding:
    return Finding(
        check=check.check,
        group=check.group,
        name=check.name,
        grade=grade,
        cause=cause,
        next_step=next_step,
    )


Paint = Callable[[str, Grade | None], str]
"""Gives a word the colour of a grade; None makes a heading of it."""
STEP_IS_TOLD = (Grade.FAULT, Grade.WARNING, Grade.NOT_TRIED)
_LEAST = 24
"""Columns below which nothing is wrapped any more."""


def report_text(
    findings: Sequence[Finding],
    *,
    home: str = "",
    width: int | None = None,
    paint: Paint | None = None,
) -> str:
    """Return the rows below their headings and a last line that sums up.

    Args:
        findings: In order.
        home: The user's folder, written as `~`.
        width: Of the terminal; None leaves each row on one line, as programs like it.
        paint: Colours words, where colours are wanted.
    """
    paint = paint or _plain
    grades = max((len(one.grade) for one in findings), default=0)
    names = max((cell_len(safe_line(one.name)) for one in findings), default=0)
    lines: list[str] = []
    for group in Group:
        rows = [one for one in findings if one.group is group]
        if rows:
            lines += ["", paint(group.value, None)] if lines else [paint(group.value, None)]
        for one in rows:
            lines += _row(one, (grades, names), home, width, paint)
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """Return how many faults and warnings there are."""
    counts = counts_of(findings)
    told = [
        f"{counts[grade]} {word}{'' if counts[grade] == 1 else 's'}"
        for grade, word in ((Grade.FAULT, "fault"), (Grade.WARNING, "warning"))
        if counts[grade]
    ]
    return f"{', '.join(told) or 'no faults, no warnings'} in {len(findings)} checks"


def report_json(findings: Sequence[Finding], timestamp: str) -> dict[str, object]:
    """Return the document of `--json`; its keys are stable."""
    grade = worst(findings)
    return {
        "healthy": grade is not Grade.FAULT,
        "verdict": grade,
        "counts": {one.replace(" ", "_"): count for one, count in counts_of(findings).items()},
        "checks": [
            {
                "check": one.check,
                "group": one.group,
                "name": one.name,
                "verdict": one.grade,
                "cause": one.cause,
                "next_step": one.next_step or None,
                "facts": dict(one.facts),
            }
            for one in findings
        ],
        "timestamp": timestamp,
    }


def counts_of(findings: Sequence[Finding]) -> dict[Grade, int]:
    """Return how many rows have each grade."""
    return {grade: sum(one.grade is grade for one in findings) for grade in Grade}


def without_home(text: str, home: str) -> str:
    """Write the user's folder as `~`, which a shell takes too; its name need not be told to others."""
    home = home.rstrip("/")
    if not home:
        return text
    quoted = text.replace(f"'{home}/", "~/'")
    return re.sub(rf"(?<![\w./-]){re.escape(home)}(?![\w.-])", "~", quoted)


def _row(one: Finding, columns: tuple[int, int], home: str, width: int | None, paint: Paint) -> list[str]:
    grades, names = columns
    name, cause = safe_line(one.name), without_home(safe_line(one.cause), home)
    padding = " " * (names - cell_len(name))
    indent = 2 + grades + 2 + names + 2
    lines = _wrapped(cause, indent, width)
    grade = paint(one.grade.value, one.grade) + " " * (grades - len(one.grade))
    rows = [f"  {grade}  {name}{padding}  {lines[0]}", *(" " * indent + line for line in lines[1:])]
    if one.next_step and one.grade in STEP_IS_TOLD:
        step = without_home(safe_line(one.next_step), home)
        rows += [" " * indent + line for line in _wrapped(f"next: {step}", indent, width)]
    return rows


def _wrapped(text: str, indent: int, width: int | None) -> list[str]:
    room = 0 if width is None else width - indent
    if room < _LEAST:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def _plain(text: str, _grade: Grade | None) -> str:
    return text
