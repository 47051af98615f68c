"""Files of the working folder for completion, and files that a pasted text names."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from heapq import nsmallest
from itertools import islice
from math import ceil
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from urllib.parse import unquote, urlsplit

from lmchat.files import command_for, environment_for_others
from lmchat.text import match
from lmchat.threads import run_abandonable

MOST_FILES = 5_000  # files that are looked at
_MOST_BYTES = 1_000_000  # most that is read of the names that git prints
_MOST_FOUND = 20
_FRESH_S = 5.0
_LONGEST_PASTE = 10_000
_GIT = ("git", "-c", "core.fsmonitor=false", "ls-files", "-coz", "--exclude-standard")
"""Without the hook of a repository, which could be any program."""


class FileFinder:
    """Fuzzy search for files below a folder; what `.gitignore` names is left out."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._environ, self._clock = folder, environ, clock
        self._listing: asyncio.Future[Sequence[str]] | None = None
        self._listed_s = 0.0

    async def find(self, typed: str) -> tuple[str, ...]:
        """Return the best matches as relative paths; the list of files is made again every few seconds.

        A path from `/`, `~/` or `../` on is completed folder by folder.
        """
        if typed.startswith(("/", "~/", "../")):
            return await run_abandonable(partial(_completed, self._folder, typed))
        now_s = self._clock()
        if self._listing is None or (self._listing.done() and now_s - self._listed_s > _FRESH_S):
            self._listing = asyncio.ensure_future(run_abandonable(self._names))
            self._listed_s = now_s
        names = await asyncio.shield(self._listing)
        return await run_abandonable(partial(_best, names, typed))

    def _names(self) -> Sequence[str]:
        names = self._names_of_git()
        found = islice(_walked(self._folder) if names is None else names, MOST_FILES)
        return [name for name in found if name.isprintable()]

    def _names_of_git(self) -> list[str] | None:
        """Return the files of a repository; None outside of one, and without git."""
        with suppress(OSError):
            command, environ = command_for(_GIT, self._environ), environment_for_others(self._environ)
            with Popen(  # noqa: S603 - a list and no shell
                command, cwd=self._folder, env=environ, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
            ) as git:
                data = git.stdout.read(_MOST_BYTES) if git.stdout else b""
                if len(data) == _MOST_BYTES:
                    git.kill()
                elif git.wait():
                    return None
            return [os.fsdecode(name) for name in data.split(b"\0")[:-1]]
        return None


def _walked(folder: Path) -> Iterator[str]:
    """Yield files, those of the upper folders first, without hidden folders."""
    waiting = deque([""])
    seen = 0
    while waiting and seen < MOST_FILES:
        below = waiting.popleft()
        with suppress(OSError), os.scandir(folder / below) as entries:
            some = sorted(islice(entries, MOST_FILES - seen), key=lambda entry: entry.name)
            seen += len(some)
            for entry in some:
                name = os.path.join(below, entry.name)  # noqa: PTH118 - a thousand paths take 20 times as long
                if entry.is_file():
                    yield name
                elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    waiting.append(name)


def _completed(folder: Path, typed: str) -> tuple[str, ...]:
    """Return what a folder holds that begins with the last part of a path, folders with a slash."""
    above, slash, start = typed.rpartition("/")
    names: list[str] = []
    with suppress(OSError), os.scandir(folder / os.path.expanduser(above + slash)) as entries:  # noqa: PTH111 - Path raises for an unknown user
        names = [one.name + "/" * one.is_dir() for one in islice(entries, MOST_FILES)]
    found = (name for name in names if name.startswith(start) and (start or name[0] != "."))
    return tuple(above + slash + name for name in sorted(found)[:_MOST_FOUND] if name.isprintable())


def _best(names: Sequence[str], typed: str) -> tuple[str, ...]:
    found = ((name, hit.score) for name in names if (hit := match(typed, name)) is not None)
    best = nsmallest(_MOST_FOUND, found, key=lambda one: (-ceil(one[1]), len(one[0]), one[0]))
    return tuple(name for name, _ in best)


def named_files(text: str) -> tuple[Path, ...]:
    """Return the files that a text names, as a terminal pastes dropped ones; none if it says more. Blocks.

    Names are absolute, and may be quoted, escaped, or `file://` addresses.
    """
    words = [text.strip()]
    for _ in range(2):
        paths = [_path(word) for word in words]
        if paths and all(os.path.isabs(path) and os.path.isfile(path) for path in paths):  # noqa: PTH113, PTH117 - Path raises for some
            return tuple(map(Path, paths))
        with suppress(ValueError):  # a quote that is not closed
            words = shlex.split(text[:_LONGEST_PASTE])
    return ()


def _path(word: str) -> str:
    if word.startswith("file://"):
        return unquote(urlsplit(word).path)
    return os.path.expanduser(word)  # noqa: PTH111 - Path raises for an unknown user
