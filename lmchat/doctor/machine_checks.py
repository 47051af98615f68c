"""Checks of this machine that depend on no options of the run.

They are about lmchat's folder, `sessions.db`, locale, built-in engine and versions. Their functions
may block, so `cli/setup/doctor_checks.py` runs them in threads.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from lmchat import __version__
from lmchat.doctor.check import Check, Finding, Grade, Group
from lmchat.errors import StoreUnavailable
from lmchat.servers.engine.download import install_command, is_engine_installed
from lmchat.storage.opening import check_file

START_ENGINE = "lmchat --local"

FOLDER = Check(Group.FILES, "files.folder", "Folder")
STORE = Check(Group.FILES, "store", "Sessions")
LOCALE = Check(Group.TERMINAL, "terminal.locale", "Characters")
ENGINE = Check(Group.ENGINE, "engine.installed", "Engine")
VERSION = Check(Group.PROGRAM, "lmchat.version", "Version")


def folder_findings(folder: Path) -> list[Finding]:
    """Return the row about the folder of lmchat's files, which is made at the first start."""
    # if the folder is not made yet: its nearest parent that exists
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return [FOLDER.row(Grade.OK, f"{folder} can be read and written.")]
    step = f"chmod u+rwx {shlex.quote(str(existing))}, or set LMCHAT_HOME to another folder"
    return [FOLDER.row(Grade.FAULT, f"lmchat cannot write to {existing}.", step)]


def store_findings(path: Path) -> list[Finding]:
    """Return the row about `sessions.db`.

    SQLite checks every page of the file: this blocks as long as reading it takes.
    """
    if not path.exists():
        return [STORE.row(Grade.OK, "No session is saved yet.")]
    try:
        file_format, fault = check_file(path)
    except StoreUnavailable as error:
        return [STORE.row(Grade.FAULT, error.message, error.hint)]
    if fault:
        step = f"Copy {path}; the next start of lmchat keeps everything that can be read"
        return [STORE.row(Grade.FAULT, f"The file is damaged: {fault}.", step)]
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return [STORE.row(Grade.OK, f"Undamaged and writable: {size}, format {file_format}.")]


def locale_findings(environ: Mapping[str, str]) -> list[Finding]:
    """Return the row about the characters that the terminal can show."""
    if os.name == "nt":  # its terminals have no variable for the locale
        return []
    values = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, values), "")  # the first that is set counts
    if "utf8" in locale.lower().replace("-", ""):
        return [LOCALE.row(Grade.OK, "Unicode.")]
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    cause = "The locale is not UTF-8: non-ASCII characters may look wrong."
    return [LOCALE.row(Grade.WARNING, cause, step)]


def engine_findings() -> list[Finding]:
    """Return the row about the built-in engine."""
    if is_engine_installed():
        return [ENGINE.row(Grade.OK, f"Installed: {START_ENGINE} starts it.")]
    cause = "Not installed; needed only if you have no model server."
    return [ENGINE.row(Grade.ABSENT, cause, install_command())]


def version_findings(log_file: Path) -> list[Finding]:
    """Return the row about the versions of lmchat and Python, and the place of the log."""
    python, system = platform.python_version(), platform.platform(terse=True)
    cause = (
        f"lmchat {__version__}, Python {python}, Textual {version('textual')}, {system}; "
        f"its log is {log_file}."
    )
    return [VERSION.row(Grade.OK, cause)]
