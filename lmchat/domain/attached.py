"""Text files within a prompt: a line with name and size, then the text in a fence; pure."""

from __future__ import annotations

import re

from msgspec import Struct

_SIGN = " bytes):\n```"
"""What no prompt without a file holds: most are looked at no further."""
_MOST_FILES = 100
"""Of more, none is told from what was typed: a text that is made so would be looked through as often."""
_FILE = re.compile(
    r"^(?P<name>[^\n]{1,300}) \((?P<size>\d{1,9}) bytes\):\n(?P<fence>`{3,})[^\n`]*\n"
    r"(?P<text>.*?)\n?(?P=fence)[ \t]*$\n?",
    re.DOTALL | re.MULTILINE,
)


class AttachedFile(Struct, frozen=True, kw_only=True):
    """A file, as it was put into a prompt."""

    name: str
    """Its name, without folders."""
    size_bytes: int
    """Its size."""
    source: str
    """All that stands for it in the prompt."""
    text: str
    """What it holds."""


def fence_for(text: str) -> str:
    """Return the marks of a fence that nothing in a text ends."""
    ticks = max((len(run) for run in re.findall(r"^ {0,3}(`{3,})", text, re.MULTILINE)), default=2)
    return "`" * (ticks + 1)


def as_attached(name: str, size_bytes: int, text: str, language: str = "") -> str:
    """Return a file as it stands in a prompt, in a fence that nothing in it ends."""
    fence = fence_for(text)
    return f"{name} ({size_bytes} bytes):\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def has_files(prompt: str) -> bool:
    """Whether a prompt seems to hold files."""
    return 0 < prompt.count(_SIGN) <= _MOST_FILES


def pieces_of(prompt: str) -> list[str | AttachedFile]:
    """Return what was typed and the files between, in order; joined they are the prompt again."""
    if not has_files(prompt):
        return [prompt]
    pieces: list[str | AttachedFile] = []
    place = 0
    for found in _FILE.finditer(prompt):
        if typed := prompt[place : found.start()]:
            pieces.append(typed)
        pieces.append(
            AttachedFile(
                name=found["name"], size_bytes=int(found["size"]), source=found[0], text=found["text"]
            )
        )
        place = found.end()
    return [*pieces, rest] if (rest := prompt[place:]) else pieces
