"""Separation of thought and answer in one text, as `<think>…</think>` marks it (R-17)."""

from __future__ import annotations

import re
from enum import Enum, auto

from lmchat.domain.event import Rethought
from lmchat.text import unclosed_fence

_OPEN = "<think>"
_CLOSE = "</think>"
_TAG = re.compile(r"</?(?:think>|(?:t(?:h(?:i(?:nk?)?)?)?)?\Z)")
"""A tag, or at the end of the text what may become one."""
_MAX_HELD = 4096  # characters of white space that are held back before an answer or after a tag
_MAX_MENTIONS = 50  # closing tags that are only mentioned, after which all is answer
_MENTION_ENDS = frozenset(" \t,.;:!?)]}'\"`/=|")
"""Characters that no answer begins with right behind the tag."""

SplitPiece = tuple[bool, str]  # whether it is thought, and its text


class _State(Enum):
    """Place in the text."""

    START = auto()  # only white space so far
    THOUGHT = auto()  # inside the tags
    AFTER = auto()  # right behind the closing tag
    UNSURE = auto()  # in what is thought if a closing tag follows
    ANSWER = auto()


class ThinkSplitter:
    """Splitter of text that comes in pieces; tags may be cut anywhere.

    An opening tag counts at the beginning only. A closing tag alone makes thought of all text
    before it. With `starts_in_thought` that text is called thought from the beginning, and text
    after all without such a tag.
    """

    def __init__(self, *, starts_in_thought: bool = False) -> None:
        self.starts_in_thought = starts_in_thought  # the guess for the next answer of this model
        self._guess = starts_in_thought
        self._state = _State.START
        self._held = ""
        self._unsure: list[str] = []  # text that is thought if a closing tag follows
        self._mentions = 0
        self._has_thought_fields = False
        self._is_over = False

    @property
    def is_open(self) -> bool:
        return self._state is _State.THOUGHT

    def feed(self, text: str) -> list[SplitPiece | Rethought]:
        """Return pieces, none of them empty, and whether those so far were the other kind."""
        if self._state is _State.ANSWER:
            return [(False, text)] if text else []
        pieces: list[SplitPiece | Rethought] = []
        rest = self._held + text
        self._held = ""
        while rest:
            rest = self._read(rest, pieces)
        return pieces

    def note_thought_fields(self) -> list[SplitPiece | Rethought]:
        """Note that thought comes in fields; then a closing tag alone is only a mention."""
        pieces: list[SplitPiece | Rethought] = []
        if self._state is _State.UNSURE:
            self._add_unsure(self._held, pieces)
            self._held = ""
            self._begin_answer(pieces)
        self._has_thought_fields = True
        self._guess = False
        return pieces

    def close(self) -> list[SplitPiece | Rethought]:
        self._is_over = True
        pieces: list[SplitPiece | Rethought] = []
        if self._state is _State.UNSURE:
            pieces = self.feed("")
        if self._state is _State.UNSURE:
            self._begin_answer(pieces)
        held = self._held
        self._held = ""
        is_gap = self._state is _State.AFTER and not held.strip()
        if held and not is_gap:
            pieces.append((self.is_open, held))
        return pieces

    def _read(self, rest: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read on in the current state; return what is left to read."""
        match self._state:
            case _State.START | _State.AFTER:
                return self._read_head(rest)
            case _State.THOUGHT:
                return self._read_thought(rest, pieces)
            case _State.UNSURE:
                return self._read_unsure(rest, pieces)
            case _State.ANSWER:
                pieces.append((False, rest))
                return ""

    def _read_head(self, rest: str) -> str:
        """Read white space up to the first word; return what is left to read."""
        word = rest.lstrip()
        if word.startswith(_OPEN):
            self._state = _State.THOUGHT
            return word[len(_OPEN) :]
        if _OPEN.startswith(word) and len(rest) <= _MAX_HELD:
            self._held = rest
            return ""
        if self._state is _State.AFTER:
            self._state = _State.ANSWER
            return word  # the empty lines between thought and answer belong to neither
        self._state = _State.ANSWER if self._has_thought_fields else _State.UNSURE
        return rest

    def _read_thought(self, rest: str, pieces: list[SplitPiece | Rethought]) -> str:
        thought, tag, behind = rest.partition(_CLOSE)
        if tag:
            self._state = _State.AFTER
        else:
            kept = _length_of_begun_tag(rest)
            thought, self._held = rest[: len(rest) - kept], rest[len(rest) - kept :]
        if thought:
            pieces.append((True, thought))
        return behind

    def _read_unsure(self, rest: str, pieces: list[SplitPiece | Rethought]) -> str:
        tag = _TAG.search(rest) if "<" in rest else None
        if tag is None:
            self._add_unsure(rest, pieces)
            return ""
        if tag[0] == _OPEN:
            self._begin_answer(pieces)
            return rest
        if tag[0] == _CLOSE:
            return self._read_lone_end(rest[: tag.start()], rest[tag.end() :], pieces)
        kept = len(tag[0])
        if self._is_over:
            kept = 0
        elif not self._unsure and not rest[: tag.start()].strip():
            kept = len(rest)
        self._add_unsure(rest[: len(rest) - kept], pieces)
        self._held = rest[len(rest) - kept :]
        return ""

    def _read_lone_end(self, text: str, behind: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read a closing tag without an opening one, with the text around it."""
        is_empty = not self._unsure and not text.strip()
        if not is_empty:
            self._add_unsure(text, pieces)
            text = ""
        is_end = _ends_thought("".join(self._unsure), behind, is_over=self._is_over)
        if is_end is None:
            self._held = text + _CLOSE + behind
            return ""
        if is_end:
            if self._unsure and not self._guess:
                pieces.append(Rethought())
            self._state = _State.AFTER
            self.starts_in_thought = True
            return behind
        self._add_unsure(text + _CLOSE, pieces)
        self._mentions += 1
        if self._mentions >= _MAX_MENTIONS:  # all that came is read again for each tag
            self._begin_answer(pieces)
        return behind

    def _add_unsure(self, text: str, pieces: list[SplitPiece | Rethought]) -> None:
        if text:
            self._unsure.append(text)
            pieces.append((self._guess, text))

    def _begin_answer(self, pieces: list[SplitPiece | Rethought]) -> None:
        """Take what was unsure as answer."""
        if self._guess and self._unsure:
            self.starts_in_thought = False
            pieces.append(Rethought(is_thought=False))
        self._state = _State.ANSWER


def _length_of_begun_tag(text: str) -> int:
    """Return how many characters at the end may begin a closing tag."""
    for length in range(len(_CLOSE) - 1, 0, -1):
        if text.endswith(_CLOSE[:length]):
            return length
    return 0


def _ends_thought(before: str, behind: str, *, is_over: bool) -> bool | None:
    """Whether a closing tag ends a thought; None if more of the text behind it is needed."""
    word = behind.lstrip(" \t\r")
    may_follow = not is_over and len(behind) < _MAX_HELD
    if not word and may_follow:
        return None
    line = before.rpartition("\n")[2]
    if line.count("`") % 2 or unclosed_fence(before):
        return False
    if not word or word[0] == "\n":
        return not line or not line[-1].isspace()
    return not line and behind[0] not in _MENTION_ENDS
