"""Files of prompts that the built-in engine has read, and can go on from later.

Each holds, in effect, the words of its session. Its name has the id of the first message, a digest
of model and program, and its size once it is whole. llama.cpp may write files beside one, under its
name with an ending.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.base.files.disk import files_in

_NAME = re.compile(r"([0-9A-Za-z_-]{1,64})\.[0-9a-f]{16}\.[0-9]+(\..+)?", re.ASCII)


class KeptPrompt(Struct, frozen=True):
    """One of these files, whole or not."""

    path: Path
    message_id: str
    size_bytes: int
    changed_s: float


def kept_prompts(folder: Path) -> list[KeptPrompt]:
    """Return the files of prompts in a folder, the newest first; all others are left out.

    Raises `OSError` if that cannot be seen.
    """
    found: list[KeptPrompt] = []
    for path in files_in(folder, "*"):
        with suppress(OSError):  # another lmchat has just removed it
            if name := _NAME.fullmatch(path.name):
                status = path.stat()
                found.append(KeptPrompt(path, name[1], status.st_size, status.st_mtime))
    return sorted(found, key=lambda kept: kept.changed_s, reverse=True)
