"""Tells thought from answer where a model writes both into one text, as `<think>…</think>` (R-17)."""

from __future__ import annotations

import re
from enum import Enum

from lmchat.domain.event import Rethought
from lmchat.text import Fence, fence_of

LONGEST_BLANK = 4096
"""Blanks behind a tag that are waited through for the end of its line."""
_HEAD = 200
"""Length of the part of a line that tells whether it opens or closes a fence."""
_TALK = frozenset(" \t,.;:!?)]}'\"`/=|")
"""Signs that no answer begins with right behind the tag, on its line."""


class TextBefore:
    """Text before a tag; it is only collected until one comes."""

    def __init__(self) -> None:
        self.unread: list[str] = []
        """Text that is no tag, to be put behind what is known."""
        self._head = ""
        self._last = ""
        self._ticks = 0
        self._fence: Fence | None = None

    def ends_here(self, behind: str, *, is_over: bool) -> bool | None:
        """Whether a tag here ends a thought; None where the decision needs more of the text behind it."""
        word = behind.lstrip(" \t\r")
        if not word and not is_over and len(behind) < LONGEST_BLANK:
            return None
        self._read()
        if self._fence or self._ticks % 2:
            return False
        if not word or word[0] == "\n":
            return not self._head or not self._last.isspace()
        return not self._head and behind[0] not in _TALK

    def _read(self) -> None:
        first, *others = "".join(self.unread).split("\n")
        self.unread.clear()
        self._grow(first)
        for line in others:
            self._end_line()
            self._grow(line)

    def _grow(self, part: str) -> None:
        self._head += part[: _HEAD - len(self._head)]
        self._last = part[-1:] or self._last
        self._ticks += part.count("`")

    def _end_line(self) -> None:
        line = self._head.strip()
        if self._fence is None:
            self._fence = fence_of(line)
        elif self._fence.is_closed_by(line):
            self._fence = None
        self._head, self._last, self._ticks = "", "", 0


_OPEN = "<think>"
_CLOSE = "</think>"
_LONGEST_HELD = 4096
"""White space before an answer that is still held back; more of it is an answer of white space."""
_SLICE = 4096
"""Characters read in one step: the text behind each tag is copied, and there may be a million tags."""
_TAG = re.compile(r"</?(?:think>|(?:t(?:h(?:i(?:nk?)?)?)?)?\Z)")
"""A tag, or at the end of the text what may become one."""

Piece = tuple[bool, str]
"""Whether it is thought, and its text."""


class _Place(Enum):
    START = "only white space so far"
    THOUGHT = "inside the tags"
    AFTER = "right behind the closing tag"
    UNSURE = "in what is thought if a closing tag comes"
    ANSWER = "in the answer"


_THOUGHT, _UNSURE, _ANSWER = _Place.THOUGHT, _Place.UNSURE, _Place.ANSWER
"""A name of an enumeration is looked up slowly, and these are asked for with each piece of an answer."""


class ThinkSplitter:
    """Splits text that comes in pieces; tags may be cut anywhere.

    An opening tag counts at the beginning only: an answer that talks about `<think>` is left alone. A closing
    tag alone makes thought of all text before it. With `starts_in_thought` that text is called thought from
    the beginning, and text after all where no such tag comes.
    """

    def __init__(self, *, starts_in_thought: bool = False) -> None:
        self.starts_in_thought = starts_in_thought
        """The guess for the next answer of this model."""
        self._guess = starts_in_thought
        self._place = _Place.START
        self._held = ""
        self._before = TextBefore()
        self._is_apart = False
        self._has_said = self._is_over = False

    @property
    def is_open(self) -> bool:
        return self._place is _THOUGHT

    def is_even(self, text: str) -> bool:
        """Whether text that comes next is all thought or all answer, in however many pieces."""
        if self._place is _ANSWER:
            return True
        if self._held or (self._place is not _UNSURE and self._place is not _THOUGHT):
            return False
        return "<" not in text or not _TAG.search(text)

    def feed(self, text: str) -> list[Piece | Rethought]:
        """Take more text; return pieces, none of them empty, and whether those so far were the other kind."""
        if self._place is _ANSWER:
            return [(False, text)] if text else []
        if self._place is _UNSURE and text and not self._held and ("<" not in text or not _TAG.search(text)):
            self._has_said = True
            self._before.unread.append(text)
            return [(self._guess, text)]
        pieces: list[Piece | Rethought] = []
        size = _SLICE if "<" in text else len(text)
        for at in range(0, len(text) or 1, size or 1):
            rest = self._held + text[at : at + size]
            self._held = ""
            while rest:
                rest = self._step(rest, pieces)
        return pieces

    def tell_apart(self) -> list[Piece | Rethought]:
        """Note that the server tells thought in fields; then a closing tag alone is only talk."""
        pieces: list[Piece | Rethought] = []
        if self._place is _UNSURE:
            self._say(self._held, pieces)
            self._held = ""
            self._give_up(pieces)
        self._is_apart, self._guess = True, False
        return pieces

    def close(self) -> list[Piece | Rethought]:
        """Return what was held back, at the end of the text."""
        pieces: list[Piece | Rethought] = []
        self._is_over = True
        if self._place is _UNSURE:
            pieces += self.feed("")
        if self._place is _UNSURE:
            self._give_up(pieces)
        held, self._held = self._held, ""
        is_spare = self._place is _Place.AFTER and not held.strip()
        return pieces if is_spare or not held else [*pieces, (self._place is _THOUGHT, held)]

    def _step(self, rest: str, pieces: list[Piece | Rethought]) -> str:
        match self._place:
            case _Place.THOUGHT:
                return self._thought(rest, pieces)
            case _Place.UNSURE:
                return self._unsure(rest, pieces)
            case _Place.ANSWER:
                pieces.append((False, rest))
                return ""
            case _:
                return self._head(rest)

    def _head(self, rest: str) -> str:
        word = rest.lstrip()
        if word.startswith(_OPEN):
            self._place = _THOUGHT
            return word[len(_OPEN) :]
        if _OPEN.startswith(word) and len(rest) <= _LONGEST_HELD:
            self._held = rest
            return ""
        # the empty lines between thought and answer belong to neither
        if self._place is _Place.AFTER:
            self._place, rest = _ANSWER, word
        else:
            self._place = _ANSWER if self._is_apart else _UNSURE
        return rest

    def _thought(self, rest: str, pieces: list[Piece | Rethought]) -> str:
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
        is_empty = not self._has_said and not rest[: tag.start()].strip()
        kept = 0 if self._is_over else len(rest) if is_empty else len(tag[0])
        self._say(rest[: len(rest) - kept], pieces)
        self._held = rest[len(rest) - kept :]
        return ""

    def _lone_end(self, text: str, behind: str, pieces: list[Piece | Rethought]) -> str:
        """Take what stands around a closing tag; return what is still to be read."""
        is_empty = not self._has_said and not text.strip()
        if not is_empty:
            self._say(text, pieces)
        is_end = self._before.ends_here(behind, is_over=self._is_over)
        text = text if is_empty else ""
        if is_end is None:
            self._held = text + _CLOSE + behind
            return ""
        if not is_end:
            self._say(text + _CLOSE, pieces)
            return behind
        if self._has_said and not self._guess:
            pieces.append(Rethought())
        self._place, self.starts_in_thought = _Place.AFTER, True
        self._before.unread.clear()
        return behind

    def _say(self, text: str, pieces: list[Piece | Rethought]) -> None:
        if text:
            self._has_said = True
            self._before.unread.append(text)
            pieces.append((self._guess, text))

    def _give_up(self, pieces: list[Piece | Rethought]) -> None:
        """Take all for the answer."""
        if self._guess and self._has_said:
            self.starts_in_thought = False
            pieces.append(Rethought(is_thought=False))
        self._place = _ANSWER
        self._before.unread.clear()


class RetoldThought:
    """Drops a thought that is told twice, in fields and between tags (R-17; llama.cpp, `deepseek-legacy`).

    What stands between tags behind a thought in fields is held until the closing tag: the same thought is
    dropped, another one kept, and what never ends was an answer about `<think>`.
    """

    def __init__(self) -> None:
        self._fields: list[str] = []
        self._held: list[str] = []

    @property
    def has_fields(self) -> bool:
        return bool(self._fields)

    def field(self, piece: str) -> None:
        self._fields.append(piece)

    def block(self, piece: str) -> str:
        """Take thought from between tags; return what of it can be told at once."""
        if not self._fields:
            return piece
        self._held.append(piece)
        return ""

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
