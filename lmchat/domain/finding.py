"""Findings of the doctor."""

from __future__ import annotations

from collections.abc import Mapping
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
        """Word for people; the value belongs to the JSON form."""
        return "problem" if self is Grade.FAULT else self.value


class Group(StrEnum):
    """Heading of the report of the doctor, in its order."""

    SERVERS = "Servers"
    NETWORK = "Network"
    KEYS = "API keys"
    FILES = "Files"
    TERMINAL = "Terminal"
    CLIPBOARD = "Clipboard"
    ENGINE = "Built-in engine"
    TOOLS = "Tools"
    PROGRAM = "lmchat"


class Finding(Struct, frozen=True):
    """One row of the report of the doctor."""

    group: Group
    check: str  # name for scripts, as `store.whole`
    name: str
    grade: Grade
    cause: str
    next_step: str = ""
    facts: Mapping[str, object] = {}
