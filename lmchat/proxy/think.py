"""Tells thought from answer where a model writes both into one text, as `<think>…</think>` (R-17)."""

from __future__ import annotations

import re

from lmchat.domain.event import Rethought
from lmchat.text import open_fence

_OPEN = "<think>"
_CLOSE = "</think>"
_TAG = re.compile(r"</?(?:think>|(?:t(?:h(?:i(?:nk?)?)?)?)?\Z)")
"""A tag, or at the end of the text what may become one."""
_LONGEST_HELD = 4096  # white space that is held back before an answer, and behind a tag
_MOST_TALK = 50  # closing tags that are only talk, after which all is answer
_TALK = frozenset(" \t,.;:!?)]}'\"`/=|")  # icons that no answer begins with right behind the tag

Piece = tuple[bool, str]  # whether it is thought, and its text


# where the text stands: only white space so far; inside the tags; right behind the closing tag; in what is
# thought if a closing tag comes; in the answer
_START, _THOUGHT, _AFTER, _UNSURE, _ANSWER = "start", "thought", "after", "unsure", "answer"


class ThinkSplitter:
    """Splits text that comes in pieces; tags may be cut anywhere.

    An opening tag counts at the beginning only. A closing tag alone makes thought of all text before it. With
    `starts_in_thought` that text is called thought from the beginning, and text after all without such a tag.
    """

    def __init__(self, *, starts_in_thought: bool = False) -> None:
        self.starts_in_thought = starts_in_thought  # the guess for the next answer of this model
        self._guess = starts_in_thought
        self._place = _START
        self._held = ""
        self._said: list[str] = []  # text that is thought if a closing tag comes
        self._talks = 0
        self._is_apart = False
        self._is_over = False

    @property
    def is_open(self) -> bool:
        return self._place == _THOUGHT

    def feed(self, text: str) -> list[Piece | Rethought]:
        """Return pieces, none of them empty, and whether those so far were the other kind."""
        if self._place == _ANSWER:
            return [(False, text)] if text else []
        pieces: list[Piece | Rethought] = []
        rest, self._held = self._held + text, ""
        while rest:
            if self._place == _THOUGHT:
                rest = self._thought(rest, pieces)
            elif self._place == _UNSURE:
                rest = self._unsure(rest, pieces)
            elif self._place == _ANSWER:
                pieces.append((False, rest))
                break
            else:
                rest = self._head(rest)
        return pieces

    def tell_apart(self) -> list[Piece | Rethought]:
        """Note that thought comes in fields; then a closing tag alone is only talk."""
        pieces: list[Piece | Rethought] = []
        if self._place == _UNSURE:
            self._say(self._held, pieces)
            self._held = ""
            self._give_up(pieces)
        self._is_apart, self._guess = True, False
        return pieces

    def close(self) -> list[Piece | Rethought]:
        self._is_over = True
        pieces = self.feed("") if self._place == _UNSURE else []
        if self._place == _UNSURE:
            self._give_up(pieces)
        held, self._held = self._held, ""
        is_spare = self._place == _AFTER and not held.strip()
        return pieces if is_spare or not held else [*pieces, (self.is_open, held)]

    def _head(self, rest: str) -> str:
        word = rest.lstrip()
        if word.startswith(_OPEN):
            self._place = _THOUGHT
            return word[len(_OPEN) :]
        if _OPEN.startswith(word) and len(rest) <= _LONGEST_HELD:
            self._held = rest
            return ""
        # the empty lines between thought and answer belong to neither
        if self._place == _AFTER:
            self._place, rest = _ANSWER, word
        else:
            self._place = _ANSWER if self._is_apart else _UNSURE
        return rest

    def _thought(self, rest: str, pieces: list[Piece | Rethought]) -> str:
        thought, tag, behind = rest.partition(_CLOSE)
        if tag:
            self._place = _AFTER
        else:
            sizes = range(len(_CLOSE) - 1, 0, -1)
            kept = next((size for size in sizes if thought.endswith(_CLOSE[:size])), 0)
            thought, self._held = rest[: len(rest) - kept], rest[len(rest) - kept :]
        if thought:
            pieces.append((True, thought))
        return behind

    def _unsure(self, rest: str, pieces: list[Piece | Rethought]) -> str:
        tag = _TAG.search(rest) if "<" in rest else None
        if tag is None:
            self._say(rest, pieces)
            return ""
        if tag[0] == _OPEN:
            self._give_up(pieces)
            return rest
        if tag[0] == _CLOSE:
            return self._lone_end(rest[: tag.start()], rest[tag.end() :], pieces)
        is_empty = not self._said and not rest[: tag.start()].strip()
        kept = 0 if self._is_over else len(rest) if is_empty else len(tag[0])
        self._say(rest[: len(rest) - kept], pieces)
        self._held = rest[len(rest) - kept :]
        return ""

    def _lone_end(self, text: str, behind: str, pieces: list[Piece | Rethought]) -> str:
        is_empty = not self._said and not text.strip()
        if not is_empty:
            self._say(text, pieces)
        is_end = _ends_thought("".join(self._said), behind, is_over=self._is_over)
        text = text if is_empty else ""
        if is_end is None:
            self._held = text + _CLOSE + behind
        elif is_end:
            if self._said and not self._guess:
                pieces.append(Rethought())
            self._place, self.starts_in_thought = _AFTER, True
            return behind
        else:
            self._say(text + _CLOSE, pieces)
            self._talks += 1
            if self._talks >= _MOST_TALK:  # all that came is read again for each tag
                self._give_up(pieces)
            return behind
        return ""

    def _say(self, text: str, pieces: list[Piece | Rethought]) -> None:
        if text:
            self._said.append(text)
            pieces.append((self._guess, text))

    def _give_up(self, pieces: list[Piece | Rethought]) -> None:
        if self._guess and self._said:
            self.starts_in_thought = False
            pieces.append(Rethought(is_thought=False))
        self._place = _ANSWER


def _ends_thought(before: str, behind: str, *, is_over: bool) -> bool | None:
    """Whether a closing tag ends a thought; None where more of the text behind it is needed."""
    word = behind.lstrip(" \t\r")
    if not word and not is_over and len(behind) < _LONGEST_HELD:
        return None
    line = before.rpartition("\n")[2]
    if line.count("`") % 2 or open_fence(before):
        return False
    if not word or word[0] == "\n":
        return not line or not line[-1].isspace()
    return not line and behind[0] not in _TALK
