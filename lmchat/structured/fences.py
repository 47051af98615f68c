"""The code in an answer: what stands between fences, as Markdown has them."""

from __future__ import annotations

import re

from lmchat.text import fence_of

_LEAD = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
"""Indentation and list marker before a fence."""


def code_blocks(text: str) -> list[str]:
    """Return what stands in each fenced block that is not empty, without its indentation.

    A block whose fence is not closed goes to the end of the text, as where an answer was cut; what can only
    be the beginning of that fence is no code.
    """
    blocks: list[str] = []
    lines = iter(text.replace("\r\n", "\n").split("\n"))
    for line in lines:
        lead = _LEAD.match(line)
        width = lead.end() if lead else 0
        if fence := fence_of(line[width:]):
            code: list[str] = []
            is_closed = False
            for inner in lines:
                if is_closed := fence.is_closed_by(inner.strip(" \t")):
                    break
                code.append(_outdented(inner, width))
            if not is_closed and code and code[-1] and not code[-1].strip().strip(fence.marks[0]):
                code.pop()
            blocks.append("\n".join(code))
    return [block for block in blocks if block.strip()]


def _outdented(line: str, width: int) -> str:
    """Take away as much white space as stands before the fence."""
    indent = len(line) - len(line.lstrip(" \t"))
    return line[min(indent, width) :]
