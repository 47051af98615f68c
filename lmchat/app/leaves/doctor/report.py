"""Report of the doctor's rows, as text or JSON."""

from __future__ import annotations

from functools import partial
from textwrap import wrap

from rich.cells import cell_len, set_cell_size

from lmchat.app.leaves.doctor.finding import Findings, Grade
from lmchat.base.safe_text import safe_line
from lmchat.base.units import counted

_UNLIMITED_WIDTH = 1_000_000  # characters: a pipe's text is not wrapped


def worst_grade(findings: Findings) -> Grade:
    grades = {finding.grade for finding in findings}
    for grade in (Grade.FAULT, Grade.WARNING):
        if grade in grades:
            return grade
    return Grade.OK


def report_text(findings: Findings, width: int = _UNLIMITED_WIDTH) -> str:
    """Write the report for people: rows below their headings, and the line of `summary`.

    A row has the columns grade, name and texts; lines are wrapped at `width` characters.
    """
    grade_width = max((len(finding.grade.label) for finding in findings), default=0)
    name_width = max((cell_len(safe_line(finding.name)) for finding in findings), default=0)
    indent = " " * (2 + grade_width + 2 + name_width + 2)  # below the texts
    wrapped = partial(
        wrap, width=width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    lines: list[str] = []
    for group in dict.fromkeys(finding.group for finding in findings):
        lines.append(group.value)
        for row in (finding for finding in findings if finding.group is group):
            name = set_cell_size(safe_line(row.name), name_width)
            columns = f"  {row.grade.label:<{grade_width}}  {name}  "
            lines += wrapped(safe_line(row.cause), initial_indent=columns)
            # nothing to do for what works, or is not needed
            if row.next_step and row.grade not in (Grade.OK, Grade.ABSENT):
                lines += wrapped(f"next: {safe_line(row.next_step)}", initial_indent=indent)
        lines.append("")
    return "\n".join([*lines, summary(findings)])


def summary(findings: Findings) -> str:
    """Write "1 problem, 2 warnings in 30 checks"; each row counts as a check."""
    grades = [finding.grade for finding in findings]
    words = [
        counted(grades.count(grade), grade.label)
        for grade in (Grade.FAULT, Grade.WARNING)
        if grade in grades
    ]
    return f"{', '.join(words) or 'no problems, no warnings'} in {len(findings)} checks"


def report_json(findings: Findings, timestamp: str) -> dict[str, object]:
    """Return the document of `lmchat doctor --json`, whose keys never change."""
    verdict = worst_grade(findings)
    grades = [finding.grade for finding in findings]
    return {
        "healthy": verdict is not Grade.FAULT,
        "verdict": verdict,
        "counts": {grade: grades.count(grade) for grade in Grade},
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
