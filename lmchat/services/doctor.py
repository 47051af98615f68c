"""The doctor: its checks, which run all at once, and the report of what they found."""

from __future__ import annotations

import asyncio
import re
import textwrap
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

from msgspec import Struct
from rich.cells import cell_len

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.errors import LMChatError
from lmchat.text import safe_line

LIMIT_S = 5.0
"""Of each check that does not limit itself: as long as looking for servers may take."""
STEP_IS_TOLD = (Grade.FAULT, Grade.WARNING, Grade.NOT_TRIED)
Paint = Callable[[str, Grade | None], str]
"""Gives a word the colour of a grade; None makes a heading of it."""
_LEAST = 24
"""Columns below which nothing is wrapped any more."""


class Check(Struct, frozen=True, kw_only=True):
    """One check; a check that fails or hangs is a row of the report and stops none of the others."""

    check: str
    """Its name for scripts."""
    group: Group
    """The heading of its rows."""
    name: str
    """Its name for people, until and unless it tells more."""
    run: Callable[[], Awaitable[Sequence[Finding]]]
    """Looks, and changes nothing that it does not put back."""
    step_if_late: str = "Look at what it waits for: a disk, a network folder or a program that hangs"
    """Next step where it does not end in time."""
    grade_if_late: Grade = Grade.FAULT
    """Grade in that case."""
    limit_s: float | None = None
    """How long it may take, where that is not as for all."""


class Examination(Struct, frozen=True, kw_only=True):
    """All checks of a run, and what a report of them needs."""

    checks: tuple[Check, ...]
    note_error: Callable[[BaseException], str]
    """Logs an unexpected error; returns its id in the log."""
    home: str = ""
    """The user's folder, which a report does not name."""

    async def run(
        self, *, limit_s: float = LIMIT_S
    ) -> AsyncGenerator[tuple[Check, tuple[Finding, ...]], None]:
        """Run all checks at once and yield each with its rows as it ends; close it with `aclosing`."""
        tasks = [
            asyncio.create_task(self._run(check, limit_s), name=f"check {check.check}")
            for check in self.checks
        ]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for started in tasks:
                started.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, check: Check, limit_s: float) -> tuple[Check, tuple[Finding, ...]]:
        limit_s = limit_s if check.limit_s is None else check.limit_s
        row = Rows(check.group)
        try:
            async with asyncio.timeout(limit_s):
                return check, tuple(await check.run())
        except TimeoutError:
            words = f"The check did not end within {limit_s:g} s."
            found = row(check.check, check.name, check.grade_if_late, words, check.step_if_late)
        except LMChatError as error:
            found = row(check.check, check.name, Grade.FAULT, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
            words = f"The check itself failed ({type(error).__name__}, error {self.note_error(error)})."
            step = "The log file has the details under this id"
            found = row(check.check, check.name, Grade.FAULT, words, step)
        return check, (found,)

    def in_order(self, found: Mapping[str, Sequence[Finding]]) -> list[Finding]:
        """Return all rows in the order of the headings, and below a heading in that of the checks."""
        rows = [row for check in self.checks for row in found.get(check.check, ())]
        groups = list(Group)
        return sorted(rows, key=lambda row: groups.index(row.group))


def worst(findings: Sequence[Finding]) -> Grade:
    """Return how well all is together: a fault, else a warning, else ok."""
    grades = {finding.grade for finding in findings}
    return next((grade for grade in (Grade.FAULT, Grade.WARNING) if grade in grades), Grade.OK)


def report_text(
    findings: Sequence[Finding],
    *,
    home: str = "",
    width: int | None = None,
    paint: Paint = lambda text, _grade: text,
) -> str:
    """Return the rows below their headings and a last line that sums up.

    Args:
        findings: In order.
        home: The user's folder, written as `~`.
        width: Of the terminal; None leaves each row on one line, as programs like it.
        paint: Colours words, where colours are wanted.
    """
    grades = max((len(one.grade) for one in findings), default=0)
    names = max((cell_len(safe_line(one.name)) for one in findings), default=0)
    indent = 2 + grades + 2 + names + 2
    lines: list[str] = []
    for group in Group:
        rows = [one for one in findings if one.group is group]
        if rows:
            lines += ["", paint(group.value, None)] if lines else [paint(group.value, None)]
        for one in rows:
            name, cause = safe_line(one.name), without_home(safe_line(one.cause), home)
            words = _wrapped(cause, indent, width)
            if one.next_step and one.grade in STEP_IS_TOLD:
                words += _wrapped(f"next: {without_home(safe_line(one.next_step), home)}", indent, width)
            grade = paint(one.grade.value, one.grade) + " " * (grades - len(one.grade))
            lines.append(f"  {grade}  {name}{' ' * (names - cell_len(name))}  {words[0]}")
            lines += [" " * indent + line for line in words[1:]]
    return "\n".join([*lines, "", summary(findings)])


def _wrapped(text: str, indent: int, width: int | None) -> list[str]:
    room = 0 if width is None else width - indent
    if room < _LEAST:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def summary(findings: Sequence[Finding]) -> str:
    """Return how many faults and warnings there are."""
    counts = _counts(findings)
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
        "counts": {one.replace(" ", "_"): count for one, count in _counts(findings).items()},
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


def _counts(findings: Sequence[Finding]) -> dict[Grade, int]:
    return {grade: sum(one.grade is grade for one in findings) for grade in Grade}


def without_home(text: str, home: str) -> str:
    """Write the user's folder as `~`, which a shell takes too; its name need not be told to others."""
    home = home.rstrip("/")
    if not home:
        return text
    quoted = text.replace(f"'{home}/", "~/'")
    return re.sub(rf"(?<![\w./-]){re.escape(home)}(?![\w.-])", "~", quoted)
