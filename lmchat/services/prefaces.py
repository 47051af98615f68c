"""What a model writes before it goes on with an answer: greetings, dots, a fence opened again; pure."""

from __future__ import annotations

import re

from msgspec import Struct

_LONGEST = 160
_STARTS = ("sure", "certainly", "of course", "okay", "ok", "absolutely", "here", "continu", "sorry", "apolog")
_GREETING = r"""\W{0,3}(?:
        (?:sure|certainly|of\ course|okay|ok|absolutely|sorry|apologies)\b[^\n:]{0,40}[.!:…]?[ \t]*\n+
      | (?:sure|certainly|of\ course|okay|ok|absolutely|here|continu|sorry|apolog)[^\n:]{0,100}?
        (?:continu|left\ off|broke\ off|cut\ off|stopped|rest)[^\n:]{0,80}
        (?::[ \t]*\n*|\.{3}[ \t]*\n+|[.…][ \t]*\n+)
    )"""
"""Compiled when an answer is gone on with: each start would wait half a millisecond for it."""
_DOTS = re.compile(r"(?:\.{3}|…)[ \t]?")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_FENCE_LINE = re.compile(r"(?:`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*\n")
_BEGUN_FENCE = re.compile(r"[`~]{1,2}\Z|(?:```|~~~)[^\n]*\Z")
_QUOTES = "\"'“”„«»"


class View(Struct, frozen=True, kw_only=True):
    """What has come, without something that may be a preface."""

    text: str
    """What is left."""
    is_sure: bool = False
    """Whether it was a preface in any case, not only where the last words follow."""
    is_code: bool = False
    """Whether what is left stood in a fence of its own."""


def _may_be_greeting(said: str) -> bool:
    """Whether more has to come before it is clear whether this is a greeting."""
    head = said.lstrip()
    if not head:
        return True
    if "\n" in head or ":" in head or len(head) > _LONGEST:
        return False
    low = head[: max(map(len, _STARTS))].lower()
    return any(start.startswith(low) or low.startswith(start) for start in _STARTS)


def views(text: str, said: str, *, is_all: bool) -> list[View] | None:
    """Return what has come, and what is left of it without prefaces, the barest last; None: see more."""
    if not is_all and _may_be_greeting(said):
        return None
    greeting = re.match(_GREETING, said.lstrip(), re.IGNORECASE | re.VERBOSE)
    rest = said.lstrip()[greeting.end() :] if greeting else said
    found = [View(text=rest, is_sure=True)]
    head, is_in_fence = rest.lstrip(), open_fence(text) is not None
    if not is_all and _is_unclear(head, is_in_fence=is_in_fence):
        return None
    fence = _FENCE_LINE.match(head) if is_in_fence else None
    dots = _DOTS.match(head)
    if fence is not None:
        begins_line = text.endswith("\n") or (not greeting and "\n" in rest[: len(rest) - len(head)])
        is_opened_again = bool(fence[1]) or not begins_line
        found.append(View(text=head[fence.end() :], is_sure=is_opened_again, is_code=True))
    elif dots is not None:
        is_sure = not is_in_fence and not text.rstrip().endswith((".", "…"))
        found.append(View(text=head[dots.end() :], is_sure=is_sure))
    elif head[:1] and head[0] in _QUOTES:
        found.append(View(text=head[1:]))
    return found


def _is_unclear(head: str, *, is_in_fence: bool) -> bool:
    if not head or head in (".", "..", "...", "…", *_QUOTES):
        return True
    return is_in_fence and _BEGUN_FENCE.match(head) is not None


def open_fence(text: str) -> str | None:
    """Return the fence that a text ends within, None where it does not."""
    fence: str | None = None
    for found in _FENCE.finditer(text):
        marks, info = found[1], found[2]
        if fence is None:
            fence = marks
        elif not info and marks[0] == fence[0] and len(marks) >= len(fence):
            fence = None
    return fence
