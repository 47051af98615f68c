"""Checks of the doctor, the rows that they return, and their run side by side.

A row is a `Finding`. Most checks return one; some return a row for each server, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path

from msgspec import Struct

from lmchat.base.errors import LMChatError, log_bug
from lmchat.base.files.disk import explain_system_error

_LIMIT_S = 15.0  # finding servers takes up to 5 s, tool servers have 8 s


class Grade(StrEnum):
    """Grade of a row, as scripts read it."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    ABSENT = "absent"  # it cannot be used, but is not needed

    @property
    def label(self) -> str:
        return "problem" if self is Grade.FAULT else self.value


class Group(StrEnum):
    """Heading of the report, in its order."""

    SERVERS = "Servers"
    KEYS = "API keys"
    FILES = "Files"
    TERMINAL = "Terminal"
    TOOLS = "Tools"
    ENGINE = "Built-in engine"
    PROGRAM = "lmchat"


class Finding(Struct, frozen=True):
    """One row of the report."""

    group: Group
    check: str  # for scripts, such as `store` or `server`
    name: str  # for people, such as the name of a server
    grade: Grade
    cause: str  # a sentence that says what was found, good or bad
    next_step: str = ""  # a command or words; shown after a problem


Findings = Sequence[Finding]


RowOf = partial[Finding]
"""A row of a check, also one that says that the check failed: it lacks what was found."""
FindRows = Callable[[], Awaitable[Findings]]


async def run_checks(
    checks: Sequence[tuple[RowOf, FindRows]], *, limit_s: float = _LIMIT_S
) -> list[Finding]:
    """Run all at once.

    A check that fails, or takes longer than `limit_s`, has one row that says so.
    """
    runs = (_run_check(row_of, find_rows, limit_s) for row_of, find_rows in checks)
    return [*chain.from_iterable(await asyncio.gather(*runs))]


async def _run_check(row_of: RowOf, find_rows: FindRows, limit_s: float) -> Findings:
    """Run `find_rows`; after a failure, return one row that says why."""
    try:
        async with asyncio.timeout(limit_s):
            return await find_rows()
    except TimeoutError:
        cause = f"The check did not finish within {limit_s:g} s."
        step = "Check the disk, network folder or program it waits for"
    except OSError as error:
        explained = explain_system_error(error, Path(error.filename or ""))
        cause, step = explained.message, explained.next_step
    except LMChatError as error:
        cause, step = error.message, error.next_step or "lmchat config check"
    except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
        cause = f"The check itself failed ({type(error).__name__}, error {log_bug(error)})."
        step = "The log file has details under this id"
    return [row_of(Grade.FAULT, cause, step)]
