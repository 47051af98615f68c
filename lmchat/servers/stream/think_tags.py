"""Separation of thought and answer in one text, as `<think>…</think>` marks it (R-17).

`ThinkSplitter` reads the text in a `_State`. Its methods whose names begin with `_read` take the
text that is not read yet, add pieces to a list, and return what is still to be read.
"""

from __future__ import annotations

import re
from enum import Enum, auto

from lmchat.markdown.commonmark import unclosed_fence
from lmchat.servers.events import Rethought

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
    """Place in the text up to which it is read."""

    START = auto()  # only white space so far
    THOUGHT = auto()  # inside the tags
    AFTER = auto()  # behind the closing tag; only white space since
    UNSURE = auto()  # in text without an opening tag: it is thought if a closing tag follows
    ANSWER = auto()


class ThinkSplitter:
    """Splitter of a text that arrives in parts; tags may be cut anywhere.

    An opening tag counts only at the beginning. A closing tag without one means that all text
    before it was thought, because the chat template had opened it. Until then the text is unsure:
    it is returned as answer (with `starts_in_thought`: as thought), and a `Rethought` follows if
    this was wrong.
    """

    def __init__(self, *, starts_in_thought: bool = False) -> None:
        # Whether the next answer of this model will probably begin within a thought.
        self.starts_in_thought = starts_in_thought
        self._is_guess_thought = starts_in_thought  # whether unsure text is returned as thought
        self._state = _State.START
        self._held = ""  # text that is not returned yet, because a tag may begin or end in it
        self._unsure: list[str] = []  # unsure text that is returned already
        self._mention_count = 0  # closing tags so far that are only mentioned
        self._has_thought_fields = False  # whether the server sends thought in other fields
        self._has_ended = False

    @property
    def is_open(self) -> bool:
        """Whether the text is inside the tags."""
        return self._state is _State.THOUGHT

    def feed(self, text: str) -> list[SplitPiece | Rethought]:
        """Take the next part of the text; return the pieces that are certain enough to show.

        A `Rethought` among them corrects all pieces that were returned before it. Text that may
        belong to a tag is held back until more text has come.
        """
        if self._state is _State.ANSWER:
            return [(False, text)] if text else []
        pieces: list[SplitPiece | Rethought] = []
        unread = self._held + text
        self._held = ""
        while unread:
            unread = self._read(unread, pieces)
        return pieces

    def note_thought_fields(self) -> list[SplitPiece | Rethought]:
        """Note that the server sends thought in other fields than this text.

        So unsure text is answer: return the part of it that was held back, and a `Rethought` if the
        unsure text was returned as thought. In other states, return nothing. From now on, a closing
        tag without an opening one is only a mention.
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
        """End the text; return what was held back, but not white space behind a closing tag.

        Text that is still unsure is answer: a `Rethought` follows if it was returned as thought.
        """
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
        """Read text in the current state, which may change; return the part that is not read yet.

        This method and those below add what they have read to `pieces`, or keep it in `_held`.
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
        """Read white space, set the state by what follows it, and return what is to be read then.

        - An opening tag: THOUGHT; the white space is dropped with the tag.
        - The beginning of such a tag, or nothing: all is held back, and the state stays.
        - Other text behind a closing tag: ANSWER, without the white space.
        - Other text at the start: UNSURE, or ANSWER if thought comes in other fields. The white
          space is a part of it.
        """
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
        """Read text inside the tags as thought; return the text behind the closing tag.

        Without a closing tag, all is read; an end that may begin such a tag is held back.
        """
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
        """Read text of which it is not known whether it is thought, up to the first tag.

        An opening tag makes all of it answer. `_read_lone_close` decides about a closing tag. The
        beginning of a tag at the end of the text is held back, unless the text has ended.
        """
        tag = _TAG.search(text) if "<" in text else None
        if tag is None:
            self._add_unsure(text, pieces)
            return ""
        if tag[0] == _OPEN:  # text comes before it, so it opens no thought: the answer mentions it
            self._begin_answer(pieces)
            return text  # to be read as answer
        if tag[0] == _CLOSE:
            return self._read_lone_close(text[: tag.start()], text[tag.end() :], pieces)

        # The text ends with the beginning of a tag. White space at the start of the whole text is
        # held back with it: it is dropped if the tag turns out to be a closing one.
        is_blank_so_far = not self._unsure and not text[: tag.start()].strip()
        read_length = tag.start()
        if self._has_ended:
            read_length = len(text)
        elif is_blank_so_far:
            read_length = 0
        self._add_unsure(text[:read_length], pieces)
        self._held = text[read_length:]
        return ""

    def _read_lone_close(
        self, before: str, behind: str, pieces: list[SplitPiece | Rethought]
    ) -> str:
        """Read the unsure text before a closing tag without an opening one, and the tag.

        Returns the text behind the tag, which is still to be read. If the tag ends a thought, all
        unsure text was thought, and a `Rethought` says so if it was returned as answer. If the tag
        is only mentioned, it is unsure text, too. If more text is needed to decide, the tag and the
        text behind it are held back.
        """
        # White space alone before the tag is no thought: it is dropped if the tag ends a thought.
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
        if self._mention_count >= _MAX_MENTIONS:  # each costs a search of all text before it
            self._begin_answer(pieces)
        return behind

    def _add_unsure(self, text: str, pieces: list[SplitPiece | Rethought]) -> None:
        """Add unsure text to `pieces` as what it probably is, and keep it in `_unsure`."""
        if text:
            self._unsure.append(text)
            pieces.append((self._is_guess_thought, text))

    def _begin_answer(self, pieces: list[SplitPiece | Rethought]) -> None:
        """Decide that all unsure text is answer, and so is all text from now on.

        If the unsure text was returned as thought, a `Rethought` is added to `pieces`, and the next
        answer is not expected to begin within a thought.
        """
        if self._is_guess_thought and self._unsure:
            self.starts_in_thought = False
            pieces.append(Rethought(is_thought=False))
        self._state = _State.ANSWER


def _length_of_begun_tag(text: str) -> int:
    """Return how many characters at the end of a text are the beginning of a closing tag."""
    for length in range(len(_CLOSE) - 1, 0, -1):
        if text.endswith(_CLOSE[:length]):
            return length
    return 0


def _ends_thought(before: str, behind: str, *, has_ended: bool) -> bool | None:
    """Whether a closing tag without an opening one ends a thought; otherwise it is only mentioned.

    `before` and `behind` are the texts on both sides of the tag. By its place, the tag is

    - undecided (None) if only blanks are behind it and more text may follow;
    - in code, a mention;
    - at the end of a line, the end of a thought, unless a blank is before it;
    - at the beginning of a line, the end of a thought, unless `_MENTION_ENDS` has the character
      behind it;
    - anywhere else, a mention.
    """
    after_blanks = behind.lstrip(" \t\r")  # a line may end with CR LF
    may_follow = not has_ended and len(behind) < _MAX_HELD
    if not after_blanks and may_follow:
        return None

    line_before = before.rpartition("\n")[2]
    is_in_inline_code = line_before.count("`") % 2 == 1
    if is_in_inline_code or unclosed_fence(before):
        return False
    is_end_of_line = not after_blanks or after_blanks[0] == "\n"
    if is_end_of_line:
        # A blank before the tag is that of a sentence, such as "then it writes </think>".
        return not line_before or not line_before[-1].isspace()
    return not line_before and behind[0] not in _MENTION_ENDS
