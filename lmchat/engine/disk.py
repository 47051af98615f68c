"""The models on this disk: files that can be served, found within a time, told by their headers."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.engine import ModelFile
from lmchat.engine.folders import Folder
from lmchat.engine.gguf import Header, NotGguf, read_header

SEARCH_S = 2.0
"""After this, what was found is all that is told; a disk that is slow or on the network must not stop us."""
_MOST_FOLDERS = 20_000
_MOST_FILES = 500
_DEEPEST = 8
_SUFFIX = ".gguf"
_NAMELESS = "model"
"""How Jan calls every file; the folder bears the name."""
_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})$")


class Search:
    """One search, bounded in time and number; what cannot be read is passed over."""

    def __init__(self, *, within_s: float = SEARCH_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end_s = clock() + within_s
        self._folders_left = _MOST_FOLDERS
        self._seen: set[tuple[int, int]] = set()

    def models(self, folders: Iterable[Folder]) -> Iterator[ModelFile]:
        """Yield what can be served, folder by folder."""
        count = 0
        for folder in folders:
            for path in self._files(folder.path, 0):
                model = self._model(path, folder.source)
                if model is not None:
                    count += 1
                    yield model
                if count >= _MOST_FILES:
                    return

    def is_in_time(self) -> bool:
        """Whether it may go on."""
        return self._folders_left > 0 and self._clock() < self._end_s

    def _files(self, folder: Path, depth: int) -> Iterator[Path]:
        """Walk through a folder in the order of names; links to folders are followed, each folder once."""
        if depth > _DEEPEST or not self.is_in_time() or not self._is_new(folder):
            return
        self._folders_left -= 1
        below: list[Path] = []
        for name, is_folder in _entries(folder):
            if is_folder:
                below.append(folder / name)
            elif name.lower().endswith(_SUFFIX):
                yield folder / name
        for one in below:
            yield from self._files(one, depth + 1)

    def _model(self, path: Path, source: str) -> ModelFile | None:
        part = _PART.match(path.stem)
        if (part and int(part["number"]) != 1) or not self.is_in_time():
            return None
        if not self._is_new(path):
            return None
        found = look_at(path)
        return replace(found.model, source=source) if found is not None and found.header.can_chat else None

    def _is_new(self, path: Path) -> bool:
        """Whether neither it nor another name of it was seen: links may go in circles."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return False
        key = (status.st_dev, status.st_ino)
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new


class Found(Struct, frozen=True, kw_only=True):
    """A GGUF file, whatever it holds."""

    model: ModelFile
    """As a model."""
    header: Header
    """What it says of itself."""


def look_at(path: Path) -> Found | None:
    """Return what a file is; None where it is no GGUF file, cannot be read, or lacks one of its parts."""
    try:
        parts = _parts(path)
        size = sum(_size(one) for one in parts)
        # a pipe in place of a file would be waited for, without O_NONBLOCK for ever
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            header = read_header(file)
    except (OSError, ValueError, NotGguf):
        return None
    model = ModelFile(
        path=path,
        name=_name(path),
        size_bytes=size,
        quantization=header.quantization or _named_quantization(path),
        architecture=header.architecture,
        title=header.title,
        context_max=header.context_max,
        parts=len(parts),
    )
    return Found(model=model, header=header)


def with_own_names(models: Sequence[ModelFile]) -> tuple[ModelFile, ...]:
    """Return the models so that no two have the same name: where they do, the folder comes before it."""
    counts: dict[str, int] = {}
    named: list[ModelFile] = []
    for model in models:
        name = model.name
        if counts.get(name):
            name = f"{model.path.parent.name}/{model.name}"
        while counts.get(name):
            name = f"{name}~"
        counts[name] = 1
        named.append(replace(model, name=name))
    return tuple(named)


def _entries(folder: Path) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _is_folder(entry)) for entry in entries]
    except (OSError, ValueError):
        return []
    return sorted(found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _parts(path: Path) -> list[Path]:
    part = _PART.match(path.stem)
    if part is None:
        return [path]
    names = (
        f"{part['stem']}-{n:05d}-of-{part['count']}{path.suffix}" for n in range(1, int(part["count"]) + 1)
    )
    return [path.with_name(name) for name in names]


def _size(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(path)
    return status.st_size


def _name(path: Path) -> str:
    part = _PART.match(path.stem)
    stem = part["stem"] if part else path.stem
    return path.parent.name if stem == _NAMELESS else stem


def _named_quantization(path: Path) -> str:
    """Return what the name of the file says, as most of them do."""
    found = re.search(r"(?:^|[-._])((?:I?Q\d|BF16|F16|F32|MXFP4|TQ\d)(?:_\w+)?)$", _name(path), re.IGNORECASE)
    return found[1].upper() if found else ""
