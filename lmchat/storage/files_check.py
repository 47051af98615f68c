"""Whether lmchat's folders and files can be read and written, and whether others can read the keys."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from msgspec import Struct

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.paths import Paths

_row = Rows(Group.FILES, "files.")
_OTHERS = 0o077
_OTHERS_WRITE = 0o022


class Modes(Struct, frozen=True, kw_only=True):
    """How files were set before lmchat read them: reading `credentials.toml` mends its mode."""

    credentials: int | None = None
    """Of `credentials.toml`; None where there is none, or it cannot be seen."""


def modes_of(paths: Paths) -> Modes:
    """Return how the files are set now."""
    try:
        return Modes(credentials=stat.S_IMODE(paths.credentials_file.stat().st_mode))
    except OSError:
        return Modes()


def files_findings(paths: Paths, before: Modes) -> list[Finding]:
    """Return the rows about folders and credentials; blocks on the disk."""
    folders = {
        paths.config_dir: "configuration and sessions",
        paths.cache_dir: "what can be fetched again",
        paths.state_dir: "the log",
    }
    rows = [_folder(folder, use, is_main=folder == paths.config_dir) for folder, use in folders.items()]
    told = [row for row in rows if row.grade is not Grade.OK]
    return [*(told or rows[:1]), _credentials(paths.credentials_file, before)]


def _folder(folder: Path, use: str, *, is_main: bool) -> Finding:
    bad = Grade.FAULT if is_main else Grade.WARNING
    quoted = shlex.quote(str(folder))
    if not folder.is_absolute():
        cause = f"No home folder is known, so that files would go to {folder}, below where you are."
        step = "export HOME=/home/YOU, or LMCHAT_HOME=FOLDER"
        return _row("folder", "Folder", Grade.FAULT, cause, step, path=str(folder))
    there = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if not there.is_dir():
        cause = f"{there} is a file, where a folder for {use} should be."
        step = f"mv {shlex.quote(str(there))} ELSEWHERE"
        return _row("folder", "Folder", bad, cause, step, path=str(folder))
    if not os.access(there, os.W_OK | os.X_OK):
        cause = f"{there} cannot be written to: there is no place for {use}."
        step = f"chmod u+rwx {shlex.quote(str(there))}, or set LMCHAT_HOME to another folder"
        return _row("folder", "Folder", bad, cause, step, path=str(folder))
    if there == folder and stat.S_IMODE(folder.stat().st_mode) & _OTHERS_WRITE:
        mode = stat.S_IMODE(folder.stat().st_mode)
        cause = f"Other users may write into {folder} (mode {mode:o})."
        return _row("folder", "Folder", Grade.WARNING, cause, f"chmod 700 {quoted}", path=str(folder))
    made = "" if there == folder else "; it is made when it is needed"
    cause = f"{folder} can be read and written{made}."
    return _row("folder", "Folder", Grade.OK, cause, path=str(folder))


def _credentials(file: Path, before: Modes) -> Finding:
    path = str(file)
    if before.credentials is None and not file.exists():
        return _row("credentials", "Credentials", Grade.OK, "No key is stored on the disk.", path=path)
    if before.credentials is not None and before.credentials & _OTHERS:
        mode = f"mode {before.credentials:o}"
        cause = f"Other users could read {file.name} ({mode}): its keys may be known to them."
        step = (
            f"chmod 600 {shlex.quote(str(file))}, then make new keys; lmchat sets the mode when it reads it"
        )
        facts = {"path": path, "mode": f"{before.credentials:o}"}
        return _row("credentials", "Credentials", Grade.WARNING, cause, step, **facts)
    if not os.access(file, os.R_OK):
        step = f"chmod 600 {shlex.quote(str(file))}"
        cause = f"{file.name} cannot be read."
        return _row("credentials", "Credentials", Grade.FAULT, cause, step, path=path)
    mode = f"{before.credentials or 0:o}"
    cause = f"{file.name} can be read by you alone (mode {mode})."
    return _row("credentials", "Credentials", Grade.OK, cause, path=path, mode=mode)
