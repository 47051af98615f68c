"""The report of the doctor as text and as one JSON document; pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence

from rich.cells import cell_len

from lmchat.domain.finding import Finding, Grade, Group
from lmchat.safe_text import safe_line
from lmchat.services.doctor import worst

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
