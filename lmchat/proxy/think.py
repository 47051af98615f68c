"""Separation of thought and answer in one text, as `<think>…</think>` marks it (R-17)."""

from __future__ import annotations

import re
from enum import Enum, auto

from lmchat.domain.event import Rethought
from lmchat.text import unclosed_fence

_OPEN = "<think>"
_CLOSE = "</think>"
_TAG = re.compile(r"</?(?:think>|(?:t(?:h(?:i(?:nk?)?)?)?)?\Z)")
"""A tag, or at the end of the text the beginning of one, such as `</thi`."""
# Most characters that are held back: white space before the answer, or text behind a closing tag.
_MAX_HELD = 4096
_MAX_MENTIONS = 50  # closing tags that are only mentioned, after which all text is answer
_MENTION_ENDS = frozenset(" \t,.;:!?)]}'\"`/=|")
"""Characters that follow a tag that is only mentioned; no answer begins with them."""

SplitPiece = tuple[bool, str]
"""Whether a text is thought, and the text, which is not empty."""


class _State(Enum):
    """Place in the text."""

    START = auto()  # only white space so far
    THOUGHT = auto()  # inside the tags
    AFTER = auto()  # behind the closing tag; only white space since
    UNSURE = auto()  # without an opening tag: it is thought if a closing tag follows
    ANSWER = auto()


class ThinkSplitter:
    """Splitter of a text that arrives in parts; tags may be cut anywhere.

    An opening tag counts only at the beginning. A closing tag without one means that all text
    before it was thought, because the chat template had opened it. Until then the text is unsure:
    it is returned as answer (with `starts_in_thought`: as thought), and a `Rethought` follows if
    this was wrong.
    """

    def __init__(self, *, starts_in_thought: bool = False) -> None:
        self.starts_in_thought = starts_in_thought  # the guess for the next answer of this model
        self._is_guess_thought = starts_in_thought  # whether unsure text is returned as thought
        self._state = _State.START
        self._held = ""  # text that is not returned yet, because a tag may begin or end in it
        self._unsure: list[str] = []
        self._mention_count = 0
        self._has_thought_fields = False
        self._has_ended = False

    @property
    def is_open(self) -> bool:
        """Whether the text is inside the tags."""
        return self._state is _State.THOUGHT

    def feed(self, text: str) -> list[SplitPiece | Rethought]:
        """Take the next part of the text; return it in pieces, with corrections of earlier ones."""
        if self._state is _State.ANSWER:
            return [(False, text)] if text else []
        pieces: list[SplitPiece | Rethought] = []
        unread = self._held + text
        self._held = ""
        while unread:
            unread = self._read(unread, pieces)
        return pieces

    def note_thought_fields(self) -> list[SplitPiece | Rethought]:
        """Note that thought comes in fields of its own; return unsure text as answer.

        From now on, a closing tag without an opening one is only a mention.
        """
        pieces: list[SplitPiece | Rethought] = []
        if self._state is _State.UNSURE:
            self._add_unsure(self._held, pieces)
            self._held = ""
            self._begin_answer(pieces)
        self._has_thought_fields = True
        self._is_guess_thought = False
        return pieces

    def close(self) -> list[SplitPiece | Rethought]:
        """End the text; return what was held back."""
        self._has_ended = True
        pieces: list[SplitPiece | Rethought] = []
        if self._state is _State.UNSURE:
            pieces = self.feed("")  # decides about a tag that is held back
        if self._state is _State.UNSURE:
            self._begin_answer(pieces)
        held = self._held
        self._held = ""
        is_gap = self._state is _State.AFTER and not held.strip()
        if held and not is_gap:
            pieces.append((self.is_open, held))
        return pieces

    def _read(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read text in the current state, which may change; return what is left to read.

        This method and those below add what they have read to `pieces`, or hold it back.
        """
        match self._state:
            case _State.START | _State.AFTER:
                return self._read_white_space(text)
            case _State.THOUGHT:
                return self._read_thought(text, pieces)
            case _State.UNSURE:
                return self._read_unsure(text, pieces)
            case _State.ANSWER:
                pieces.append((False, text))
                return ""

    def _read_white_space(self, text: str) -> str:
        """Find out what follows white space: a thought, or other text; return it unread."""
        stripped = text.lstrip()
        if stripped.startswith(_OPEN):
            self._state = _State.THOUGHT
            return stripped.removeprefix(_OPEN)
        may_become_tag = _OPEN.startswith(stripped)
        if may_become_tag and len(text) <= _MAX_HELD:
            self._held = text
            return ""
        if self._state is _State.AFTER:
            self._state = _State.ANSWER
            return stripped  # the empty lines between thought and answer belong to neither
        self._state = _State.ANSWER if self._has_thought_fields else _State.UNSURE
        return text

    def _read_thought(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read text inside the tags, up to the closing one."""
        thought, tag, behind = text.partition(_CLOSE)
        if tag:
            self._state = _State.AFTER
        else:
            thought_length = len(text) - _length_of_begun_tag(text)
            thought = text[:thought_length]
            self._held = text[thought_length:]
        if thought:
            pieces.append((True, thought))
        return behind

    def _read_unsure(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read text of which it is not known whether it is thought, up to the first tag."""
        tag = _TAG.search(text) if "<" in text else None
        if tag is None:
            self._add_unsure(text, pieces)
            return ""
        if tag[0] == _OPEN:  # not at the beginning, so it is only mentioned
            self._begin_answer(pieces)
            return text
        if tag[0] == _CLOSE:
            return self._read_lone_close(text[: tag.start()], text[tag.end() :], pieces)

        # The text ends with the beginning of a tag. White space at the start of the whole text is
        # held back with it: it is dropped if the tag turns out to be a closing one.
        read_length = tag.start()
        if self._has_ended:
            read_length = len(text)
        elif not self._unsure and not text[: tag.start()].strip():
            read_length = 0
        self._add_unsure(text[:read_length], pieces)
        self._held = text[read_length:]
        return ""

    def _read_lone_close(
        self, before: str, behind: str, pieces: list[SplitPiece | Rethought]
    ) -> str:
        """Read a closing tag without an opening one, and the unsure text before it."""
        is_blank_so_far = not self._unsure and not before.strip()
        if not is_blank_so_far:
            self._add_unsure(before, pieces)
            before = ""
        ends_thought = _ends_thought("".join(self._unsure), behind, has_ended=self._has_ended)
        if ends_thought is None:
            self._held = before + _CLOSE + behind
            return ""
        if ends_thought:
            if self._unsure and not self._is_guess_thought:
                pieces.append(Rethought())
            self._state = _State.AFTER
            self.starts_in_thought = True
            return behind

        self._add_unsure(before + _CLOSE, pieces)
        self._mention_count += 1
        if self._mention_count >= _MAX_MENTIONS:  # each one costs a look at all text before it
            self._begin_answer(pieces)
        return behind

    def _add_unsure(self, text: str, pieces: list[SplitPiece | Rethought]) -> None:
        if text:
            self._unsure.append(text)
            pieces.append((self._is_guess_thought, text))

    def _begin_answer(self, pieces: list[SplitPiece | Rethought]) -> None:
        """Decide that all unsure text is answer; correct it if it was returned as thought."""
        if self._is_guess_thought and self._unsure:
            self.starts_in_thought = False
            pieces.append(Rethought(is_thought=False))
        self._state = _State.ANSWER


def _length_of_begun_tag(text: str) -> int:
    """Return how many characters at the end of a text may begin a closing tag."""
    for length in range(len(_CLOSE) - 1, 0, -1):
        if text.endswith(_CLOSE[:length]):
            return length
    return 0


def _ends_thought(before: str, behind: str, *, has_ended: bool) -> bool | None:
    """Whether a closing tag without an opening one ends a thought, or is only mentioned.

    Returns None if more of the text behind it is needed. It is a mention in code. Otherwise it ends
    a thought if nothing follows in its line and no blank is before it, or if it begins a line and
    the text right behind it may begin an answer.
    """
    after_blanks = behind.lstrip(" \t\r")
    may_follow = not has_ended and len(behind) < _MAX_HELD
    if not after_blanks and may_follow:
        return None

    line_before = before.rpartition("\n")[2]
    is_in_inline_code = line_before.count("`") % 2 == 1
    if is_in_inline_code or unclosed_fence(before):
        return False
    is_end_of_line = not after_blanks or after_blanks[0] == "\n"
    if is_end_of_line:
        return not line_before or not line_before[-1].isspace()
    return not line_before and behind[0] not in _MENTION_ENDS
