"""Where a value is set: its level, for decisions, and words for the user."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Level(StrEnum):
    """A kind of place that sets values."""

    DEFAULT = "default"
    FILE = "file"
    PROFILE = "profile"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "flag"
    SESSION = "session"  # by `/set`; it and `/effort` set sampling options only
    EFFORT = "/effort"


class Origin(Struct, frozen=True):
    """The place that sets a value."""

    level: Level
    words: str  # for the user, such as "file (config.toml)" or "profile short"
    name: str = ""  # of the file, variable or flag alone; empty if `named_origin` did not make it


DEFAULT = Origin(Level.DEFAULT, "default")


def named_origin(level: Level, name: str) -> Origin:
    """Return the origin in a file, variable or flag, with words such as "file (config.toml)"."""
    return Origin(level, f"{level} ({name})", name)
