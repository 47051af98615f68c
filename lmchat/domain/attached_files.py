"""Attached files in the text of prompts and drafts."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection

from msgspec import MsgspecError, Struct, json

from lmchat.domain.message import FilePart

_HEAD_END = " bytes):\n```"  # every prompt with a file has it
_MAX_FILES = 100
_MIN_TICKS = 3
_FILE_NAME = r"(?P<name>.{1,300}) \((?P<size>\d{1,9}) bytes\):"
_MAX_HEAD_CHARS = 330  # more than the pattern can match
_OPENING_TICKS = r"(?m)^ {0,3}(`{3,})"
_FILE_MARK = "\x10"
"""Data link escape: begins the line of an attached file. What is typed cannot hold it."""
_FILE_LINE = f'{_FILE_MARK}["file",'
_DIGEST = "[0-9a-f]{64}"


class AttachedFile(Struct, frozen=True, kw_only=True):
    """A file in a prompt."""

    name: str
    size_bytes: int
    source: str
    text: str


def fence_for(text: str) -> str:
    """Return the marks of a fence that the text does not close."""
    longest = max(map(len, re.findall(_OPENING_TICKS, text)), default=_MIN_TICKS - 1)
    return "`" * (longest + 1)


def file_as_prompt_text(name: str, size_bytes: int, text: str, language: str = "") -> str:
    """Return a file as text of a prompt."""
    fence = fence_for(text)
    return f"{name} ({size_bytes} bytes):\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def file_line(part: FilePart) -> str:
    """Return the line that represents an attached file in a draft or a queued prompt."""
    return f"{_FILE_MARK}{json.encode(part).decode()}\n"


def without_file_lines(text: str, *, kept: Collection[str] = ()) -> str:
    """Return text from outside, as of an editor, without lines of attached files.

    `kept` are lines that may stay.
    """
    if _FILE_MARK not in text:
        return text
    lines = text.split("\n")
    return "\n".join(line if line in kept else line.replace(_FILE_MARK, "") for line in lines)


def split_draft(draft: str) -> tuple[str, dict[str, FilePart]]:
    """Return what was written of a draft, and the attached files by their lines."""
    if _FILE_LINE not in draft:
        return draft, {}
    files: dict[str, FilePart] = {}
    written: list[str] = []
    for line in re.split(r"(?<=\n)", draft):
        text = line.removesuffix("\n")
        part = files.get(text) or _part_of(text)
        if part is None:
            written.append(line)
        else:
            files[text] = part
    return "".join(written), files


def _part_of(line: str) -> FilePart | None:
    """Return the attached file of a line of a draft, if it is one."""
    if not (line.startswith(_FILE_LINE) and line.endswith("]")):
        return None
    try:
        part = json.decode(line.removeprefix(_FILE_MARK), type=FilePart)
    except (MsgspecError, RecursionError):
        return None
    return part if re.fullmatch(_DIGEST, part.digest) else None


def may_hold_files(prompt: str) -> bool:
    """Whether a prompt seems to hold files."""
    return 0 < prompt.count(_HEAD_END) <= _MAX_FILES


def split_files(prompt: str) -> list[str | AttachedFile]:
    """Return typed texts and files in order."""
    if not may_hold_files(prompt):
        return [prompt]
    fences = _closing_fences(prompt)
    pieces: list[str | AttachedFile] = []
    start = 0  # of what is not in a piece yet
    head_end = prompt.find(_HEAD_END)
    while head_end >= 0:
        begin = prompt.rfind("\n", 0, head_end) + 1
        may_be_head = start <= begin and head_end - begin < _MAX_HEAD_CHARS
        file = _file_at(prompt, begin, fences) if may_be_head else None
        if file is not None:
            if typed := prompt[start:begin]:
                pieces.append(typed)
            pieces.append(file)
            start = begin + len(file.source)
        head_end = prompt.find(_HEAD_END, max(head_end + 1, start))
    if rest := prompt[start:]:
        pieces.append(rest)
    return pieces


def _closing_fences(prompt: str) -> dict[str, list[int]]:
    """Return where the lines begin that only hold backticks, by their marks, in order."""
    begins: dict[str, list[int]] = {}
    begin = 0
    for line in prompt.split("\n"):
        marks = line.rstrip(" \t")
        if len(marks) >= _MIN_TICKS and not marks.strip("`"):
            begins.setdefault(marks, []).append(begin)
        begin += len(line) + 1
    return begins


def _file_at(prompt: str, begin: int, fences: dict[str, list[int]]) -> AttachedFile | None:
    """Return the file whose name begins here: its line, a fence, the text, and the same fence."""
    name_end = prompt.find("\n", begin)
    name = re.fullmatch(_FILE_NAME, prompt[begin:name_end])
    text_begin = prompt.find("\n", name_end + 1) + 1
    if name is None or not text_begin:
        return None
    opening = prompt[name_end + 1 : text_begin - 1]
    info = opening.lstrip("`")
    closing = fences.get(opening[: len(opening) - len(info)], [])
    index = bisect_left(closing, text_begin)
    if "`" in info or index == len(closing):
        return None
    text_end = closing[index]
    end = prompt.find("\n", text_end) + 1
    return AttachedFile(
        name=name["name"],
        size_bytes=int(name["size"]),
        source=prompt[begin : end or len(prompt)],
        text=prompt[text_begin:text_end].removesuffix("\n"),
    )
