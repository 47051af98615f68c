"""Texts in letters that nothing else uses, so that even two letters that are left are found.

One letter is three bytes, which one in forty thousand of the times in a database has by chance.
"""

from __future__ import annotations

import random
import re

_LETTERS = re.compile(rb"(?:\xe1[\x88\x89][\x80-\xbf]){2}")  # Ethiopic, in UTF-8
_ESCAPED = re.compile(rb"\\u12[0-7]")  # the same in JSON


def secret(seed: int, words: int = 30) -> str:
    """Return words of Ethiopic letters."""
    numbers = random.Random(seed)  # noqa: S311 - repeats
    letters = [chr(0x1200 + number) for number in range(0x70)]
    return " ".join(
        "".join(numbers.choices(letters, k=numbers.randrange(3, 12))) for _ in range(words)
    )


def left(folder):
    """Return the files below a folder with a letter of what has to go."""
    found = []
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if _LETTERS.search(data) or _ESCAPED.search(data) or _LETTERS.search(path.name.encode()):
            found.append(path.name)
    return found
