"""What a check of the doctor found: a grade, what is so, and the one step that helps."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct


class Grade(StrEnum):
    """How well something is; the value is the word on the screen."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    ABSENT = "absent"
    """It is not there, and need not be."""
    NOT_TRIED = "not tried"


class Group(StrEnum):
    """What a check is about; the value is the heading, and the order is that of the report."""

    SERVERS = "Servers"
    NETWORK = "Network"
    KEYS = "Keys"
    FILES = "Files"
    TERMINAL = "Terminal"
    CLIPBOARD = "Clipboard"
    ENGINE = "Built-in engine"
    PROGRAM = "lmchat"


class Finding(Struct, frozen=True, kw_only=True):
    """One row of the report; its texts may come from outside, and pass the filter where they are shown."""

    check: str
    """What was looked at, for scripts: `server`, `store.whole`; rows of several servers share theirs."""
    group: Group
    """Under which heading it stands."""
    name: str
    """What was looked at, in one or two words."""
    grade: Grade
    """How well it is."""
    cause: str
    """What is so, as one sentence."""
    next_step: str = ""
    """The step that helps, where there is a command the exact one; empty where none is needed."""
    facts: Mapping[str, object] = {}
    """Figures and names for scripts; never a key."""


class Rows(Struct, frozen=True):
    """Makes the rows of one area of the report."""

    group: Group
    """Under which heading they stand."""
    prefix: str = ""
    """Stands before the name of each check."""

    def __call__(
        self, check: str, name: str, grade: Grade, cause: str, step: str = "", /, **facts: object
    ) -> Finding:
        """Return one row."""
        return Finding(
            check=f"{self.prefix}{check}",
            group=self.group,
            name=name,
            grade=grade,
            cause=cause,
            next_step=step,
            facts=facts,
        )
