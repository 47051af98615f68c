"""Files with the user's words that lmchat has left: it names them until they are gone."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lmchat.base.files.disk import explain_system_error, files_in, locked
from lmchat.base.files.paths import Paths

UNSAVED_NAME = "unsaved-{}.json"
OF_SQLITE = ("-wal", "-shm", "-journal")  # endings of files that go with a database


def left_files(paths: Paths) -> list[str]:
    """Return a sentence for each file, with what to do; it blocks.

    There is one, too, for a folder that cannot be looked into, unless the sessions are there: who
    opens them says it.
    """
    problems: list[str] = []

    def found(folder: Path, pattern: str) -> list[Path]:
        try:
            return sorted(files_in(folder, pattern))
        except OSError as error:
            problems.append(explain_system_error(error, folder).message_with_next_step)
            return []

    kept: list[Path] = []
    for path in (paths.sessions_file, paths.state_file):  # without logs
        kept += found(Path(os.path.realpath(path)).parent, f"{path.name}.damage*[d0-9]")
    told_elsewhere = {*problems}
    unsaved = found(paths.state_dir, UNSAVED_NAME.format("*"))
    edited: list[Path] = []
    for folder in found(paths.editor_dir, "lmchat-*"):
        edited += (file for file in found(folder, "*.md") if not _is_held(file))
    sentences = (
        ("The end of a session could not be saved. Import {}, then delete it.", unsaved),
        ("{} is kept, and another file is in use. Delete it when you no longer need it.", kept),
        ("{} was in an editor when lmchat was killed. Copy what you need, then delete it.", edited),
    )
    return [
        *(problem for problem in dict.fromkeys(problems) if problem not in told_elsewhere),
        *(sentence.format(file) for sentence, files in sentences for file in files),
    ]


def _is_held(file: Path) -> bool:
    """Whether the file is in the editor of a running lmchat."""
    try:
        with locked(file, wait_s=0.0):
            return False
    except OSError as error:
        return error.errno == errno.EAGAIN
