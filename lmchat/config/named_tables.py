"""Presets and profiles, which are read again when the configuration file has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lmchat.config.load import load
from lmchat.config.settings import Preset, Profile, Settings

_TABLES = ("prompts", "profiles")


class NamedTables:
    """The `[prompts.NAME]` and `[profiles.NAME]` of a file, as they are in it now.

    While one of them is wrong, or the file cannot be read, all stay as they were before.
    """

    def __init__(self, file: Path, settings: Settings) -> None:
        """Begin with the tables of `settings`, which were just read from `file`."""
        self._problem = ""
        self._presets = settings.prompts
        self._profiles = settings.profiles
        self._file = file
        self._version = _version_of(file)

    def presets(self) -> Mapping[str, Preset]:
        """Return the presets by name, after a look at the file."""
        self._read_if_changed()
        return self._presets

    def profiles(self) -> Mapping[str, Profile]:
        """Return the profiles by name, after a look at the file."""
        self._read_if_changed()
        return self._profiles

    def problem(self) -> str:
        """Return a sentence about the first wrong table; empty if all are right."""
        self._read_if_changed()
        return self._problem

    def _read_if_changed(self) -> None:
        """Read the file if it has changed since the last look; a missing file changes nothing.

        Some editors remove a file for a moment when they save it.
        """
        version = _version_of(self._file)
        if version in (None, self._version):
            return
        self._version = version
        loaded = load(self._file, {})  # environment and flags have no such tables
        # a problem without a key is about the file as a whole
        wrong = [
            problem.sentence
            for problem in loaded.problems
            if not problem.key or problem.key.startswith(_TABLES)
        ]
        self._problem = wrong[0] if wrong else ""
        if not wrong:
            self._presets = loaded.settings.prompts
            self._profiles = loaded.settings.profiles


def _version_of(file: Path) -> tuple[int, int, int] | None:
    """Return what differs between two versions of a file; None if there is no file."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
