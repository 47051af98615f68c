"""Separation of thought and answer in one text, as `<think>…</think>` marks it (R-17)."""

from __future__ import annotations

import re
from enum import Enum, auto

from lmchat.markdown.commonmark import unclosed_fence
from lmchat.servers.events import Rethought

_OPEN = "<think>"
_CLOSE = "</think>"
_TAG = re.compile(f"{_OPEN}|{_CLOSE}")
# Most characters that are held back: white space before the answer, or blanks behind a closing tag.
# They are read again with each new part, so that a long run of them would take the square of time.
_MAX_HELD = 4096

SplitPiece = tuple[bool, str]
"""Whether a text is thought, and the text, which is not empty."""
_IS_THOUGHT, _IS_ANSWER = True, False


class _State(Enum):
    """Place in the text up to which it is read."""

    START = auto()  # only white space so far
    THOUGHT = auto()  # inside the tags
    UNSURE = auto()  # before the first tag: in an answer, or a thought that the template opened
    AFTER = auto()  # behind the closing tag; only white space since
    ANSWER = auto()


class ThinkSplitter:
    """Splitter of a text that arrives in parts; tags may be cut anywhere.

    An opening tag counts only at the beginning of the text. If the text begins with other words, it
    is returned as answer up to its first tag. If that is a closing tag at the end of a line outside
    of code, the chat template had opened a thought. A `Rethought` then says that all text before
    the tag was thought. Any other first tag is a word of the answer, and so are the tags behind it.
    """

    def __init__(self) -> None:
        self._state = _State.START
        self._held = ""  # text that is not returned yet, because a tag may begin or end in it
        self._unsure: list[str] = []  # text of the state `UNSURE`
        self._has_ended = False  # whether the text has come to its end, by `close`

    def feed(self, text: str) -> list[SplitPiece | Rethought]:
        """Take the next part of the text; return the pieces that are certain enough to show.

        A `Rethought` among them corrects all pieces that were returned before it. Text that may
        belong to a tag is held back until more text has come.
        """
        pieces: list[SplitPiece | Rethought] = []
        text = self._held + text
        self._held = ""
        # if a state ends within the text, the next one reads the rest
        if self._state is _State.START:
            words = text.lstrip()
            # also white space alone, behind which a tag may come
            may_become_tag = _OPEN.startswith(words) and len(text) <= _MAX_HELD
            if words.startswith(_OPEN):
                self._state = _State.THOUGHT
                text = words.removeprefix(_OPEN)
            elif may_become_tag and not self._has_ended:
                self._held = text
                return []
            else:
                self._state = _State.UNSURE
        if self._state is _State.THOUGHT:
            thought, tag, behind = text.partition(_CLOSE)
            if tag:
                self._state = _State.AFTER
            else:
                thought = self._hold_begun_tag(text)
            if thought:
                pieces.append((_IS_THOUGHT, thought))
            text = behind  # empty without a tag
        elif self._state is _State.UNSURE:
            text = self._read_to_first_tag(text, pieces)
        if self._state is _State.AFTER:  # empty lines between thought and answer belong to neither
            text = text.lstrip()
            if text:
                self._state = _State.ANSWER
        if text:
            pieces.append((_IS_ANSWER, text))
        return pieces

    def close(self) -> list[SplitPiece | Rethought]:
        """End the text; return what was held back, but not white space behind a closing tag."""
        self._has_ended = True  # so `feed` holds back nothing more
        return self.feed("")

    def _read_to_first_tag(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read text in the state `UNSURE`, which its first tag ends; return the rest of the text.

        The text before the tag is added to `pieces` as answer. Until the rest of its line has come,
        the tag is held back for the next call, and the rest is empty. The line shows whether the
        tag ends a thought. If it does, a `Rethought` is added to `pieces`, and the rest is the text
        behind the tag. Otherwise the tag is a word of the answer, and the rest begins with it.
        """
        tag = _TAG.search(text)
        before = self._hold_begun_tag(text) if tag is None else text[: tag.start()]
        if before:
            self._unsure.append(before)
            pieces.append((_IS_ANSWER, before))
        if tag is None:
            return ""
        behind = text[tag.end() :]
        rest_of_line = behind.lstrip(" \t\r")  # a line may end with CR LF
        if not rest_of_line and not self._has_ended and len(behind) <= _MAX_HELD:
            self._held = tag[0] + behind  # words may still follow in the line
            return ""
        unsure = "".join(self._unsure)
        line_before = unsure.rpartition("\n")[2]
        ends_line = not rest_of_line or rest_of_line.startswith("\n")
        # a blank before the tag is that of a sentence, such as "then it writes </think>"
        is_in_sentence = line_before.endswith((" ", "\t"))
        is_in_code = line_before.count("`") % 2 == 1 or unclosed_fence(unsure) is not None
        if tag[0] == _CLOSE and ends_line and not is_in_sentence and not is_in_code:
            if self._unsure:  # else nothing was returned as answer
                pieces.append(Rethought())
            self._state = _State.AFTER
            return behind
        self._state = _State.ANSWER
        return text[tag.start() :]

    def _hold_begun_tag(self, text: str) -> str:
        """Hold back the beginning of a tag at the end of a text; return the text before it."""
        start = text.rfind("<")
        end = text[start:]
        is_begun = start >= 0 and (_OPEN.startswith(end) or _CLOSE.startswith(end))
        if not is_begun or self._has_ended:
            return text
        self._held = end
        return text[:start]
