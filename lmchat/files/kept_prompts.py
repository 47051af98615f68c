"""Files of prompts that the built-in engine has read, and can go on from later.

Each holds, in effect, the words of its session. Its name has the id of the first message, the
digest of `same_engine`, and its size once it is whole. llama.cpp may write a file beside one, under
its name with an ending.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

UNFINISHED = 0
_NAME = re.compile(r"([0-9A-Za-z_-]{1,64})\.([0-9a-f]{16})\.([0-9]+)(\..+)?", re.ASCII)
_DIGEST_CHARS = 16


class KeptPrompt(Struct, frozen=True, kw_only=True):
    """A file of this folder."""

    path: Path
    message_id: str
    engine: str
    is_whole: bool  # llama.cpp ends at a file that was cut
    size_bytes: int
    changed_s: float


def prompt_name(message_id: str, engine: str, size_bytes: int) -> str:
    """Return the name of a file; `size_bytes` is `UNFINISHED` until it is whole."""
    return f"{message_id}.{engine}.{size_bytes}"


def kept_prompts(folder: Path) -> list[KeptPrompt]:
    """Return the files of prompts in a folder, the newest first; other files are none of them."""
    found: list[KeptPrompt] = []
    for path in folder.glob("*"):
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        with suppress(OSError):  # another lmchat has just removed it
            status = path.stat()
            found.append(
                KeptPrompt(
                    path=path,
                    message_id=name[1],
                    engine=name[2],
                    is_whole=int(name[3]) == status.st_size and not name[4],
                    size_bytes=status.st_size,
                    changed_s=status.st_mtime,
                )
            )
    return sorted(found, key=lambda kept: kept.changed_s, reverse=True)


def same_engine(files: Sequence[Path]) -> str:
    """Return a digest of these files: their paths, sizes and times of change.

    What another model or another llama.cpp has read would be taken for right if its form fits.
    Raises `OSError`.
    """
    facts: list[object] = []
    for file in files:
        status = file.stat()
        facts += [file.resolve(), status.st_size, status.st_mtime_ns]
    return sha256(repr(facts).encode()).hexdigest()[:_DIGEST_CHARS]
