"""Checks of the doctor, the rows that they return, and their run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from itertools import chain

from msgspec import Struct

from lmchat.errors import LMChatError, log_bug

_LIMIT_S = 15.0  # finding servers takes up to 5 s, and tool servers have 8 s to start


class Grade(StrEnum):
    """Grade of a row, as scripts read it."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    ABSENT = "absent"

    @property
    def label(self) -> str:
        """Word for the grade in the report for people."""
        return "problem" if self is Grade.FAULT else self.value


class Group(StrEnum):
    """Heading in the report of the doctor; the report has them in this order."""

    SERVERS = "Servers"
    KEYS = "API keys"
    FILES = "Files"
    TERMINAL = "Terminal"
    TOOLS = "Tools"
    ENGINE = "Built-in engine"
    PROGRAM = "lmchat"


class Finding(Struct, frozen=True):
    """Result of a check: one row of the report of the doctor."""

    group: Group
    check: str  # name of its check for scripts
    name: str
    grade: Grade
    cause: str
    next_step: str = ""


Findings = Sequence[Finding]


class Check(Struct, frozen=True):
    """Heading and names of a check, which its row has for any result, also if the check fails."""

    group: Group
    check: str  # name for scripts, such as `store`
    name: str  # name for people

    def row(self, grade: Grade, cause: str, next_step: str = "") -> Finding:
        return Finding(self.group, self.check, self.name, grade, cause, next_step)


FindRows = Callable[[], Awaitable[Findings]]


async def run_checks(
    checks: Sequence[tuple[Check, FindRows]], *, limit_s: float = _LIMIT_S
) -> list[Finding]:
    """Run all checks at once; return their rows, in the order of `Group` and then of the checks.

    For a check that fails, or takes longer than `limit_s`, there is one row that says so.
    """
    runs = (_rows_of(check, find_rows, limit_s) for check, find_rows in checks)
    found = await asyncio.gather(*runs)
    groups = list(Group)
    return sorted(chain.from_iterable(found), key=lambda row: groups.index(row.group))


async def _rows_of(check: Check, find_rows: FindRows, limit_s: float) -> Findings:
    """Return the rows of a check, or a row that says how it failed, or that it took too long."""
    try:
        async with asyncio.timeout(limit_s):
            return await find_rows()
    except TimeoutError:
        cause = f"The check did not finish within {limit_s:g} s."
        step = "Check the disk, network folder or program it waits for"
    except LMChatError as error:
        cause, step = error.message, error.hint or "lmchat config check"
    except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
        cause = f"The check itself failed ({type(error).__name__}, error {log_bug(error)})."
        step = "The log file has details under this id"
    return [check.row(Grade.FAULT, cause, step)]
