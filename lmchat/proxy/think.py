"""Tells thought from answer where a model writes both into one text, as `<think>…</think>` (R-17)."""

from __future__ import annotations

from enum import Enum

_OPEN = "<think>"
_CLOSE = "</think>"
_LONGEST_HELD = 4096
"""White space before an answer that is still held back; more of it is an answer of white space."""


class _Place(Enum):
    START = "only white space so far"
    THOUGHT = "inside the tags"
    AFTER = "right behind the closing tag"
    ANSWER = "in the answer"


class ThinkSplitter:
    """Splits text that comes in pieces; tags may be cut anywhere.

    A tag counts at the beginning only: an answer that talks about `<think>` is left alone.
    """

    def __init__(self) -> None:
        self._place = _Place.START
        self._held = ""

    @property
    def is_open(self) -> bool:
        """Whether the closing tag has not come."""
        return self._place is _Place.THOUGHT

    def is_even(self, text: str) -> bool:
        """Whether text that comes next is all thought or all answer, in however many pieces."""
        is_within = self._place is _Place.THOUGHT and not self._held and "<" not in text
        return is_within or self._place is _Place.ANSWER

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Take more text; return pieces as (is thought, text), none of them empty."""
        if self._place is _Place.ANSWER:
            return [(False, text)] if text else []
        pieces: list[tuple[bool, str]] = []
        rest = self._held + text
        self._held = ""
        while rest:
            rest = self._thought(rest, pieces) if self._place is _Place.THOUGHT else self._head(rest, pieces)
        return pieces

    def close(self) -> list[tuple[bool, str]]:
        """Return what was held back, at the end of the text."""
        held, self._held = self._held, ""
        is_spare = self._place is _Place.AFTER and not held.strip()
        return [(self._place is _Place.THOUGHT, held)] if held and not is_spare else []

    def _head(self, rest: str, pieces: list[tuple[bool, str]]) -> str:
        if self._place is _Place.ANSWER:
            pieces.append((False, rest))
            return ""
        word = rest.lstrip()
        if word.startswith(_OPEN):
            self._place = _Place.THOUGHT
            return word[len(_OPEN) :]
        if _OPEN.startswith(word) and len(rest) <= _LONGEST_HELD:
            self._held = rest
            return ""
        # the empty lines between thought and answer belong to neither
        is_after, self._place = self._place is _Place.AFTER, _Place.ANSWER
        return word if is_after else rest

    def _thought(self, rest: str, pieces: list[tuple[bool, str]]) -> str:
        thought, tag, behind = rest.partition(_CLOSE)
        if tag:
            self._place = _Place.AFTER
        else:
            kept = _tail_that_may_be_a_tag(thought)
            self._held = thought[len(thought) - kept :]
            thought = thought[: len(thought) - kept]
        if thought:
            pieces.append((True, thought))
        return behind


class RetoldThought:
    """Drops a thought that is told twice, in fields and between tags (R-17; llama.cpp, `deepseek-legacy`).

    What stands between tags behind a thought in fields is held until the closing tag: the same thought is
    dropped, another one kept, and what never ends was an answer about `<think>`.
    """

    def __init__(self) -> None:
        self._fields: list[str] = []
        self._held: list[str] = []
        self._tagged = ""

    @property
    def has_tagged(self) -> bool:
        """Whether thought between tags came that fields may tell again."""
        return bool(self._tagged)

    def field(self, piece: str) -> str:
        """Take thought of a field; return what of it is new."""
        self._fields.append(piece)
        if self._tagged and self._tagged.startswith("".join(self._fields)):
            return ""
        self._tagged = ""
        return piece

    def block(self, piece: str) -> str:
        """Take thought from between tags; return what of it can be told at once."""
        if self._fields and not self._tagged:
            self._held.append(piece)
            return ""
        self._tagged += piece
        return piece

    def end(self) -> str:
        """Return what was held, at the closing tag, if it is another thought than that of the fields."""
        if not self._held:  # nearly always: it is asked before each piece of the answer
            return ""
        held, self._held = "".join(self._held), []
        return "" if held.strip() == "".join(self._fields).strip() else held

    def close(self, *, has_end: bool) -> list[tuple[bool, str]]:
        """Return what is still held at the end of the answer, as (is thought, text)."""
        is_cut = not has_end and "".join(self._fields).strip().startswith("".join(self._held).strip())
        held = self.end()
        return [(has_end, held if has_end else _OPEN + held)] if held and not is_cut else []


def _tail_that_may_be_a_tag(text: str) -> int:
    return next((size for size in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:size])), 0)
