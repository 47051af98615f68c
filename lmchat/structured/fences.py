"""The code in an answer: what stands between fences, as Markdown has them."""

from __future__ import annotations

import re

_OPENING = re.compile(
    r"(?P<indent>[ \t]*)(?P<item>(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<fence>`{3,}(?=[^`]*$)|~{3,})"
)


def code_blocks(text: str) -> list[str]:
    """Return what stands in each fenced block that is not empty, without its indentation.

    A block whose fence is not closed goes to the end of the text, as where an answer was cut; what can only
    be the beginning of that fence is no code.
    """
    blocks: list[str] = []
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        if opening := _OPENING.match(line):
            fence, width = opening["fence"], len(opening["indent"] + (opening["item"] or ""))
            code: list[str] = []
            is_closed = False
            for inner in lines:
                if is_closed := _closes(inner, fence):
                    break
                code.append(_outdented(inner, width))
            if not is_closed and code and code[-1] and not code[-1].strip().strip(fence[0]):
                code.pop()
            blocks.append("\n".join(code))
    return [block for block in blocks if block.strip()]


def _closes(line: str, fence: str) -> bool:
    bare = line.strip(" \t")
    return len(bare) >= len(fence) and not bare.strip(fence[0])


def _outdented(line: str, width: int) -> str:
    """Take away as much white space as stands before the fence."""
    indent = len(line) - len(line.lstrip(" \t"))
    return line[min(indent, width) :]
