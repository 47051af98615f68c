"""The check of lmchat itself: versions, the log file, and the last error that nobody expected."""

from __future__ import annotations

import json
import platform
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lmchat import __version__
from lmchat.cli.parts import Parts
from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.errors import LMChatError
from lmchat.files import read_plain

_row = Rows(Group.PROGRAM, "lmchat.")
_ERROR = re.compile(r"unexpected error, id ([0-9a-f]{8})$")
_RECENT = timedelta(days=1)


def program_findings(parts: Parts) -> list[Finding]:
    """Return the rows about the program; blocks on the disk."""
    rows = [_versions(), _log(parts.paths.log_file)]
    try:
        parts.log_level()
    except LMChatError as error:
        step = "unset LMCHAT_LOG_LEVEL"
        rows.append(_row("log_level", "Log level", Grade.FAULT, f"{error.message}", step))
    return rows


def _versions() -> Finding:
    try:
        textual = version("textual")
    except PackageNotFoundError:
        textual = "not installed"
    system = f"{platform.system()} {platform.release()}"
    return _row(
        "version",
        "Version",
        Grade.OK,
        f"lmchat {__version__}, Python {platform.python_version()}, Textual {textual}, {system}.",
        lmchat=__version__,
        python=platform.python_version(),
        textual=textual,
        system=system,
    )


def _log(file: Path) -> Finding:
    facts: dict[str, object] = {"path": str(file), "last_error": None, "last_error_at": None}
    try:
        lines = read_plain(file).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return _row("log", "Log file", Grade.OK, f"Nothing is logged yet in {file}.", **facts)
    except OSError as error:
        cause = f"{file} cannot be read: {error.strerror or error}."
        return _row("log", "Log file", Grade.WARNING, cause, f"ls -l {shlex.quote(str(file))}", **facts)
    found = next(_errors(lines), None)
    if found is None:
        return _row("log", "Log file", Grade.OK, f"{file} holds no error that nobody expected.", **facts)
    error_id, moment = found
    is_recent = moment is not None and datetime.now(UTC) - moment < _RECENT
    told = f" ({moment:%Y-%m-%d %H:%M} UTC)" if moment else ""
    facts |= {"last_error": error_id, "last_error_at": moment.isoformat() if moment else None}
    return _row(
        "log",
        "Log file",
        Grade.WARNING if is_recent else Grade.OK,
        f"The last error that nobody expected is {error_id}{told}, in {file}.",
        f"grep {error_id} {shlex.quote(str(file))}",
        **facts,
    )


def _errors(lines: list[str]) -> Iterator[tuple[str, datetime | None]]:
    """Yield id and time of logged errors, newest first; a line that is cut or foreign is passed over."""
    for line in reversed(lines):
        if "unexpected error" not in line:
            continue
        try:
            entry = json.loads(line)
            found = _ERROR.search(str(entry["message"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if found:
            yield found[1], _moment(entry.get("time"))


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
