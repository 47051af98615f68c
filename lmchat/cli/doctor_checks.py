"""Collects the checks of the doctor from all floors; none of them knows of the others."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from msgspec import Struct

from lmchat.cli.doctor_config import config_findings
from lmchat.cli.doctor_engine import EngineChecks
from lmchat.cli.doctor_program import program_findings
from lmchat.cli.doctor_servers import ServerChecks
from lmchat.cli.parts import Parts
from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.services.doctor import Check, Examination
from lmchat.services.ports import Backend
from lmchat.storage.files_check import Modes, files_findings, modes_of
from lmchat.storage.keyring_check import keyring_findings
from lmchat.storage.store_check import sqlite_command, store_findings, whole_findings
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.clipboard_check import clipboard_findings
from lmchat.terminal.terminal_check import terminal_findings
from lmchat.threads import apart

_SERVERS_S = 12.0
"""Looking for servers ends by itself after 5 s; on a busy machine it takes time to begin and to say so."""


class Around(Struct, frozen=True, kw_only=True):
    """What the checks work with beside the parts."""

    backend: Callable[[], Awaitable[Backend]]
    """Returns what looks for servers."""
    clipboard: Clipboard
    """The ways to copy."""
    modes: Modes | None = None
    """How files were set before anything of lmchat read them; None: as they are when they are looked at."""


def doctor_checks(parts: Parts, around: Around) -> list[Check]:
    """Return all checks, in the order of the report; nothing is looked at yet."""
    engine = EngineChecks(parts)
    servers = ServerChecks(parts, around.backend, engine.step)
    return [
        Check(
            check="servers",
            group=Group.SERVERS,
            name="Servers",
            run=servers.look,
            limit_s=_SERVERS_S,
        ),
        Check(check="network", group=Group.NETWORK, name="Network", run=servers.look_at_loopback),
        _apart("proxy", Group.NETWORK, "Proxy variables", servers.look_at_environment),
        _apart("keyring", Group.KEYS, "Keyring", keyring_findings),
        _apart("config", Group.FILES, "Configuration", partial(config_findings, parts)),
        _apart(
            "files",
            Group.FILES,
            "Folders",
            lambda: files_findings(parts.paths, around.modes or modes_of(parts.paths)),
        ),
        _apart("store", Group.FILES, "Sessions", lambda: store_findings(parts.paths.sessions_file)),
        _whole(parts),
        Check(
            check="terminal",
            group=Group.TERMINAL,
            name="Terminal",
            run=lambda: terminal_findings(parts.environ, _terminal_files()),
        ),
        _apart("clipboard", Group.CLIPBOARD, "Clipboard", lambda: clipboard_findings(around.clipboard)),
        Check(
            check="engine",
            group=Group.ENGINE,
            name="Engine",
            run=engine.look,
            step_if_late="lmchat --local tries it for as long as it takes",
            grade_if_late=Grade.NOT_TRIED,  # a slow machine takes long to load the library
        ),
        _apart("program", Group.PROGRAM, "lmchat", partial(program_findings, parts)),
    ]


def examination(parts: Parts, backend: Callable[[], Awaitable[Backend]], clipboard: Clipboard) -> Examination:
    """Return all checks for a page that shows them; they look at the run that the page belongs to."""
    around = Around(backend=backend, clipboard=clipboard)
    checks = doctor_checks(parts, around)
    return Examination(checks=tuple(checks), note_error=parts.note_error, home=home_of_user())


def home_of_user() -> str:
    """Return the user's folder; empty where none is known."""
    try:
        return str(Path.home())
    except RuntimeError:
        return ""


def modes_before(parts: Parts) -> Modes:
    """Return how files are set; to be called before keys are read, which mends them."""
    return modes_of(parts.paths)


def _whole(parts: Parts) -> Check:
    return Check(
        check="store.whole",
        group=Group.FILES,
        name="Integrity",
        run=lambda: apart(lambda: whole_findings(parts.paths.sessions_file)),
        step_if_late=sqlite_command(_shown_file(parts)),
        grade_if_late=Grade.NOT_TRIED,  # a large file takes its time
    )


def _shown_file(parts: Parts) -> Path:
    try:
        return parts.paths.sessions_file
    except Exception:  # noqa: BLE001 - the check itself says what is wrong with the folders
        return Path("sessions.db")


def _apart(check: str, group: Group, name: str, look: Callable[[], Sequence[Finding]]) -> Check:
    return Check(check=check, group=group, name=name, run=lambda: apart(look))


def _terminal_files() -> list[int | None]:
    """Return where the screen reads and draws: what Python began with, as a screen replaces them."""
    return [_number(sys.__stdin__), _number(sys.__stderr__)]


def _number(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None
