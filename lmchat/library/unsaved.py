"""Files beside the log for what could not be saved when lmchat was ended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lmchat.files.disk import write_new_file
from lmchat.formats.json_sessions import to_json
from lmchat.sessions.session import Session

_NAME = "unsaved-{}.json"


def write_unsaved(folder: Path, sessions: Iterable[Session]) -> list[Path]:
    """Write each session into a file, which `lmchat import` reads; raises `FileRefused`."""
    return [
        write_new_file(
            folder / _NAME.format(session.header.session_id), to_json(session), mode=0o600
        )
        for session in sessions
    ]


def unsaved_notices(folder: Path) -> list[str]:
    return [
        "The end of a session could not be saved when lmchat was ended. "
        f"/import {path} adds it to your sessions; then delete the file."
        for path in sorted(folder.glob(_NAME.format("*")))
    ]
