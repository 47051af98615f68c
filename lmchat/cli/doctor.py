"""`lmchat doctor`: every check with verdict, cause and next step, as text or as one JSON document."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from lmchat.cli.doctor_checks import Around, doctor_checks, home_of_user, modes_before
from lmchat.cli.output import timestamp
from lmchat.cli.parts import Parts
from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.errors import LMChatError
from lmchat.services.doctor import Check, Paint, examine, in_order, report_json, report_text, worst
from lmchat.services.ports import Backend
from lmchat.storage.files_check import Modes
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.clipboard_check import tried_findings

_NARROWEST, _WIDEST = 60, 120
_CODES = {Grade.OK: "32", Grade.WARNING: "33", Grade.FAULT: "31", Grade.ABSENT: "2", Grade.NOT_TRIED: "2"}


async def doctor(parts: Parts) -> int:
    """Run every check; exit 1 if a fault was found."""
    backends: list[Backend] = []

    async def make() -> Backend:
        backends.append(_backend(parts))
        return backends[0]

    around = Around(backend=make, clipboard=_clipboard(parts), modes=_modes(parts))
    try:
        return await _report(parts, doctor_checks(parts, around))
    finally:
        for backend in backends:
            await backend.aclose()


async def clipboard(parts: Parts) -> int:
    """Try every way to the clipboard; exit 1 if none is left."""
    ways = _clipboard(parts)
    check = Check(
        check="clipboard", group=Group.CLIPBOARD, name="Clipboard", run=lambda: tried_findings(ways)
    )
    return await _report(parts, [check], limit_s=30.0)


async def _report(parts: Parts, checks: Sequence[Check], *, limit_s: float | None = None) -> int:
    limits = {} if limit_s is None else {"limit_s": limit_s}
    async with aclosing(examine(checks, note_error=parts.note_error, **limits)) as examined:
        findings = in_order([one async for one in examined], checks)
    if parts.output.is_json:
        parts.output.document(report_json(findings, timestamp()))
    else:
        _print(parts, findings)
    return 1 if worst(findings) is Grade.FAULT else 0


def _print(parts: Parts, findings: Sequence[Finding]) -> None:
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = min(max(_columns(), _NARROWEST), _WIDEST) if is_terminal else None
    has_colours = is_terminal and not parts.environ.get("NO_COLOR") and parts.environ.get("TERM") != "dumb"
    paint: Paint | None = _painted if has_colours else None
    text = report_text(findings, home=home_of_user(), width=width, paint=paint)
    parts.output.painted(text)


def _painted(word: str, grade: Grade | None) -> str:
    return f"\x1b[{_CODES[grade] if grade is not None else '1'}m{word}\x1b[0m"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDEST
    except (OSError, ValueError):
        return _WIDEST


def _modes(parts: Parts) -> Modes:
    try:
        return modes_before(parts)
    except LMChatError:  # the folders are not known; the check of the files says so
        return Modes()


def _backend(parts: Parts) -> Backend:
    """Return what looks for servers, as far as configuration and folders can be read."""
    from lmchat.cli.wiring import make_backend
    from lmchat.proxy.client import ProxyClient

    try:
        return make_backend(parts, parts.loaded.settings)
    except LMChatError:
        return ProxyClient(parts.usable_settings, key_for=lambda _: None)


def _clipboard(parts: Parts) -> Clipboard:
    try:
        file = parts.paths.state_dir / "copied.txt"
    except LMChatError:
        file = Path("copied.txt")
    return Clipboard(environ=parts.environ, write=lambda _: False, file=file)
