"""Files with the user's words that lmchat has left: it names them until they are gone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lmchat.files.disk import explain_system_error, files_in, locked
from lmchat.files.paths import Paths

UNSAVED_NAME = "unsaved-{}.json"
OF_SQLITE = ("-wal", "-shm", "-journal")  # endings of files that go with a database


def left_files(paths: Paths) -> list[str]:
    """Return a sentence for each file, with what to do; it blocks.

    There is one, too, for a folder that cannot be looked into, unless the sessions are there: who
    opens them says it.
    """
    damaged: list[Path] = []
    unsaved: list[Path] = []
    edited: list[Path] = []
    told_elsewhere = unseen = ""
    try:
        damaged += (
            file
            for path in (paths.sessions_file, paths.state_file)
            for file in files_in(Path(os.path.realpath(path)).parent, f"{path.name}.damaged*")
            if not file.name.endswith(OF_SQLITE)
        )
    except OSError as error:
        told_elsewhere = explain_system_error(error, Path()).message_with_next_step
    try:
        unsaved += files_in(paths.state_dir, UNSAVED_NAME.format("*"))
        for folder in files_in(paths.editor_dir, "lmchat-*"):
            edited += (file for file in files_in(folder, "*.md") if not _is_held(file))
    except OSError as error:
        unseen = explain_system_error(error, Path()).message_with_next_step
    return [
        *([unseen] if unseen not in ("", told_elsewhere) else ()),
        *(
            f"The end of a session could not be saved. Import {file}, then delete it."
            for file in sorted(unsaved)
        ),
        *(
            f"{file} was damaged, and another file is in use. Delete it when you no longer need it."
            for file in sorted(damaged)
        ),
        *(
            f"{file} was in an editor when lmchat was killed. Copy what you need, then delete it."
            for file in sorted(edited)
        ),
    ]


def _is_held(file: Path) -> bool:
    """Whether the file is in the editor of a running lmchat."""
    try:
        with locked(file, wait_s=0.0):
            return False
    except OSError as error:
        return error.errno == errno.EAGAIN
