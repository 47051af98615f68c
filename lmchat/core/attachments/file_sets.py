"""Sets of text files that are attached together: those of a folder, or of a pattern."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from lmchat.base.errors import FileRefused
from lmchat.base.files.disk import expanded_path, read_plain, unreadable
from lmchat.base.files.folder_walk import walk
from lmchat.base.files.path_patterns import ANY_FOLDERS, fits
from lmchat.base.matching import normalized
from lmchat.base.processes.background import in_thread
from lmchat.base.safe_text import safe_line
from lmchat.base.units import breakable, counted, size_text, whole_number
from lmchat.core.attachments.attachment import (
    MAX_TEXT_BYTES,
    Attachment,
    is_pdf,
    language_of,
    text_attachment,
)
from lmchat.core.attachments.dropped_files import existing_path

_MOST_ATTACHED = 100  # of one folder or pattern
_MOST_BYTES = 8_000_000  # together; a request may have 10 MB
_MOST_ENTRIES = 50_000  # files and folders that are looked at
_MOST_NAME_CHARS = 200
_SIGNS = frozenset("*?[")  # of patterns
_NARROWER = "Name a folder or a pattern with fewer files, such as src/*.py."


class SetName(Struct, frozen=True, kw_only=True):
    """A name that means several files, such as `notes/` or `src/**/*.py`."""

    typed: str
    start: str  # as typed, before the pattern: `src/`
    folder: Path  # of that part
    pattern: tuple[str, ...]  # steps of the path below it: `**` and `*.py`


class FileSet(Struct, frozen=True, kw_only=True):
    """Text files, sorted by their names, which start as the user typed them."""

    files: Sequence[Attachment]
    left_out_count: int  # no text, or too long
    unread_count: int  # folders

    @property
    def tokens(self) -> int:
        return sum(file.part.tokens for file in self.files)

    @property
    def label(self) -> str:
        """Write `3 files, 12 kB, ~3 020 tokens`.

        With ordinary blanks in figures, as in all that commands print.
        """
        size = size_text(sum(file.part.size for file in self.files))
        estimate = whole_number(self.tokens, is_estimated=True)
        text = breakable(f"{counted(len(self.files), 'file')}, {size}, {estimate} tokens")
        if self.left_out_count:
            text += f"; {self.left_out_count} skipped (not text, or too long)"
        if self.unread_count:
            text += f"; {counted(self.unread_count, 'folder')} skipped (not readable, or too deep)"
        return text


@in_thread
def parse_set_name(name: str, folder: Path) -> SetName | None:
    """Return None for the name of one file, which may have signs of a pattern if it exists.

    A relative name starts at `folder`.
    """
    full_path = existing_path(folder / expanded_path(name))
    path = name.replace(os.sep, "/")
    if os.path.isdir(full_path):  # noqa: PTH112 - Path.is_dir may raise
        # names of files start as typed, but those of `.` have no `./`
        start = "" if path.rstrip("/") == "." else f"{path.rstrip('/')}/"
        return SetName(typed=name, start=start, folder=full_path, pattern=(ANY_FOLDERS,))
    steps = path.split("/")
    start, base = "", existing_path(folder)
    for number, step in enumerate(steps):
        longer = f"{start}{step}/"
        next_base = existing_path(folder / expanded_path(longer))
        if not _SIGNS.isdisjoint(step) and not os.path.lexists(next_base):
            return SetName(typed=name, start=start, folder=base, pattern=tuple(steps[number:]))
        start, base = longer, next_base
    return None


@in_thread
def read_set(name: SetName) -> FileSet:
    """Leave out links, hidden files and those that `.gitignore` names.

    Raises `FileRefused` if no file is left, or if there is too much.
    """
    shown_name = safe_line(name.typed, limit=_MOST_NAME_CHARS)
    found = walk(name.folder, most_entries=_MOST_ENTRIES)
    if found.is_cut:
        most = "too many files to look through, or rules of .gitignore that cannot be followed"
        raise FileRefused(f"{shown_name} has {most}.", next_step=_NARROWER)
    pattern = [normalized("NFC", step) for step in name.pattern]
    paths: list[str] = []
    for path, entry in found.files:
        is_shown_file = not entry.name.startswith(".") and entry.is_file(follow_symlinks=False)
        if is_shown_file and fits(normalized("NFC", path).split("/"), pattern):
            paths.append(path)

    files: list[Attachment] = []
    left_out_count = 0
    total_bytes = 0
    for path in sorted(paths):
        file = _text_file(name.start + path, name.folder / path)
        if file is None:
            left_out_count += 1
            continue
        files.append(file)
        total_bytes += file.part.size
        if len(files) > _MOST_ATTACHED or total_bytes > _MOST_BYTES:
            most = f"{_MOST_ATTACHED} text files, or {_MOST_BYTES // 1_000_000} MB of them"
            raise FileRefused(f"{shown_name} has more than {most}.", next_step=_NARROWER)

    if not files:
        for error in found.unread:
            raise unreadable(error.filename, error)
        problem = f"{shown_name} has no text files."
        if name.pattern != (ANY_FOLDERS,):  # else that of a folder
            problem = f"No text file fits {shown_name}."
        raise FileRefused(
            problem,
            next_step="Hidden files, links and those of .gitignore do not count. Check the name.",
        )
    return FileSet(files=files, left_out_count=left_out_count, unread_count=len(found.unread))


def _text_file(name: str, path: Path) -> Attachment | None:
    """Return None if it is empty, no text, too long, or not readable."""
    try:
        data = read_plain(path, max_bytes=MAX_TEXT_BYTES)
    except OSError:
        return None
    if not data or is_pdf(data):  # a PDF may have no byte that shows it is no text
        return None
    try:
        shown_name = safe_line(name, limit=_MOST_NAME_CHARS)
        return text_attachment(shown_name, "text/plain", data, language=language_of(shown_name))
    except FileRefused:
        return None
