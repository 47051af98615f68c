"""Findings of the doctor: each is one row of its report."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Grade(StrEnum):
    """Grade of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    ABSENT = "absent"
    NOT_TRIED = "not tried"

    @property
    def label(self) -> str:
        """Word for people; the value itself is for the JSON form."""
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


class Subject(Struct, frozen=True):
    """Subject of a check: its methods build a row about it, with the grade in their name."""

    group: Group
    check: str  # name for scripts
    name: str

    def ok(self, cause: str, next_step: str = "") -> CheckResult:
        return self.graded(Grade.OK, cause, next_step)

    def warning(self, cause: str, next_step: str = "") -> CheckResult:
        return self.graded(Grade.WARNING, cause, next_step)

    def graded(self, grade: Grade, cause: str, next_step: str = "") -> CheckResult:
        """Build a row with a given grade."""
        return CheckResult(self.group, self.check, self.name, grade, cause, next_step)
