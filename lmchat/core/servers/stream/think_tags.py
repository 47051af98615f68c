"""Separation of thought and answer in one text by marks of the model (R-17)."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Sequence

from lmchat.base.markdown.fences import unclosed_fence
from lmchat.core.servers.events import ReasoningDelta, Rethought, TextDelta
from lmchat.core.servers.wire.marks import FAMILIES, Marks

# Messages of gpt-oss (openai/harmony, docs/format.md): a thought is
# `<|channel|>analysis<|message|>…<|end|>`, a further message starts with `<|start|>assistant`.
_HEADER = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>(analysis|commentary|final)\b[^\n]{0,200}?<\|message\|>"
)
_HEADER_STARTS = tuple(
    f"{start}<|channel|>{channel}"
    for start in ("", "<|start|>assistant")
    for channel in ("analysis", "commentary", "final")
)
_MAX_HEADER = 256  # longer than any mark
_MESSAGE_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_END_OF_MESSAGE = re.compile(rf"<\|(?:end|return|call)\|>|(?={_HEADER.pattern})")
_FINAL_ENDS = ("<|return|>", "<|end|>")

_FIRST_CHARS = re.compile(r"[<\[◁]")  # of all marks
# white space, which is read again with each new part: a long run would take the square of time
_MAX_HELD = 4096

Filtered = TextDelta | ReasoningDelta | Rethought


class ThoughtFilter:
    """Filter of a text that arrives in parts; marks may be cut anywhere.

    An opening mark counts only at the beginning of the text. Other words there are answer up to the
    first mark. If that is a closing mark at the end of a line outside of code, the chat template
    had opened a thought, and a `Rethought` says that all text before was thought. Any other first
    mark is a word of the answer, and so are those behind it.
    """

    def __init__(
        self, families: Sequence[Marks] = FAMILIES, *, may_close_alone: bool = True
    ) -> None:
        """Without `families`, all is answer.

        A closing mark may come alone if the chat template may have opened the thought.
        """
        self._may_close_alone = may_close_alone
        self._by_open = {marks.open: marks for marks in families}
        self._by_close = {marks.close: marks for marks in families}
        self._mark = re.compile("|".join(map(re.escape, (*self._by_open, *self._by_close))))
        self._may_start_mark = _beginnings_of(*self._by_open, *self._by_close)
        self._text = ""  # that is not read: a mark may start or end in it
        self._filtered: list[Filtered] = []
        self._is_at_start = True
        self._has_thought = False  # which came elsewhere
        self._has_ended = False  # by `close`
        self._has_only_answer = not families
        self._reader = self._read()

    def feed(self, piece: TextDelta | ReasoningDelta) -> list[Filtered]:
        """Return what is certain; a `Rethought` corrects all before it.

        Behind a thought of its own field, marks are words, but for a closing one at the very
        beginning.
        """
        if self._has_only_answer:
            return [piece]
        if isinstance(piece, TextDelta):
            self._text += piece.text
            return self._read_on()
        if self._is_at_start and not self._text.strip():
            self._has_thought = True
            return [piece]
        return [*self.close(), piece]

    def close(self) -> list[Filtered]:
        """Return what was held back, but no white space behind a closing mark."""
        self._has_ended = self._has_only_answer = True
        return self._read_on()

    def _read_on(self) -> list[Filtered]:
        next(self._reader, None)
        filtered = self._filtered
        self._filtered = []
        return filtered

    def _read(self) -> Iterator[None]:
        """Read the text, and yield where more of it is needed."""
        may_start = self._may_start_mark
        while not self._has_ended and len(self._text) <= _MAX_HELD:
            text = self._text.lstrip()
            if text and not may_start(text) and not _may_become_header(text):
                break
            yield
        self._is_at_start = False
        text = self._text.lstrip()
        mark = self._mark.match(text)
        by_mark = self._by_close if self._has_thought else self._by_open
        marks = by_mark.get(mark[0]) if mark is not None else None
        if mark is not None and marks is not None:
            self._text = text[mark.end() :]
            if not self._has_thought:
                close = re.compile(re.escape(marks.close))
                yield from self._read_to(close, may_start, is_thought=True)
                self._text = self._text.removeprefix(marks.close)
            yield from self._read_answer(marks.ends, marks.start)
        elif not self._has_thought and _HEADER.match(text):
            yield from self._read_messages()
        elif not self._has_thought and self._may_close_alone:
            yield from self._read_unsure()
        else:
            yield from self._read_rest(())

    def _pass_on(self, may_start: Callable[[str], bool], *, is_thought: bool) -> str:
        """Pass on the text, and return it, but for an end that may start a mark."""
        text = self._text
        tail = _FIRST_CHARS.search(text, max(0, len(text) - _MAX_HEADER))
        while tail is not None and not may_start(text[tail.start() :]):
            tail = _FIRST_CHARS.search(text, tail.end())
        end = len(text) if tail is None else tail.start()
        return self._pass_on_to(end, is_thought=is_thought)

    def _pass_on_to(self, end: int, *, is_thought: bool) -> str:
        text = self._text[:end]
        self._text = self._text[end:]
        if text:
            one = ReasoningDelta(text=text) if is_thought else TextDelta(text=text)
            self._filtered.append(one)
        return text

    def _read_to(
        self, mark: re.Pattern[str], may_start: Callable[[str], bool], *, is_thought: bool
    ) -> Generator[None, None, str]:
        """Return the text before a mark, which may have no characters, or to the end."""
        read: list[str] = []
        while (found := mark.search(self._text)) is None and not self._has_ended:
            read.append(self._pass_on(may_start, is_thought=is_thought))
            yield
        end = len(self._text) if found is None else found.start()
        read.append(self._pass_on_to(end, is_thought=is_thought))
        return "".join(read)

    def _read_unsure(self) -> Iterator[None]:
        """Read an answer, or a thought that the template has opened, up to the first mark.

        The rest of its line shows whether it ends a thought.
        """
        before = yield from self._read_to(self._mark, self._may_start_mark, is_thought=False)
        mark = self._mark.match(self._text)
        if mark is None:
            return
        marks = self._by_close.get(mark[0])
        while True:
            behind = self._text[mark.end() :]
            rest_of_line = behind.lstrip(" \t\r")  # a line may end with CR LF
            may_go_on = not rest_of_line or (marks is not None and marks.start.startswith(behind))
            if not may_go_on or self._has_ended or len(behind) > _MAX_HELD:
                break
            yield
        if marks is not None and _ends_thought(before, marks, behind):
            if before:  # else nothing was returned as answer
                self._filtered.append(Rethought())
            self._text = behind
            yield from self._read_answer(marks.ends, marks.start)
        else:
            yield from self._read_rest(())

    def _read_messages(self) -> Iterator[None]:
        """Read messages of gpt-oss; all but the last are thoughts."""
        while True:
            text = self._text.lstrip()
            header = _HEADER.match(text)
            may_go_on = header is None and (not text or _may_become_header(text))
            if may_go_on and not self._has_ended and len(self._text) <= _MAX_HELD:
                yield
                continue
            if header is None:
                # at the end of the text, half a header is no word of the answer
                self._text = "" if may_go_on else text
                yield from self._read_rest(())
                return
            self._text = text[header.end() :]
            if header[1] == "final":
                yield from self._read_answer(_FINAL_ENDS)
                return
            yield from self._read_to(_END_OF_MESSAGE, _may_end_message, is_thought=True)
            if end := _END_OF_MESSAGE.match(self._text):
                self._text = self._text[end.end() :]

    def _read_answer(self, ends: tuple[str, ...], start: str = "") -> Iterator[None]:
        """Read what is behind a thought; white space between belongs to neither."""
        while True:
            self._text = self._text.lstrip()
            may_go_on = self._text != start and start.startswith(self._text)
            if self._has_ended or (self._text and not may_go_on):
                break
            yield
        self._text = self._text.removeprefix(start)
        yield from self._read_rest(ends)

    def _read_rest(self, ends: tuple[str, ...]) -> Iterator[None]:
        """Read the answer to its end, at which a mark may stand."""
        while ends and not self._has_ended:
            self._pass_on(
                lambda tail: any(end.startswith(tail.rstrip()) for end in ends),
                is_thought=False,
            )
            yield
        if self._text.rstrip() in ends:
            self._text = ""
        self._pass_on_to(len(self._text), is_thought=False)
        self._has_only_answer = True


def _beginnings_of(*marks: str) -> Callable[[str], bool]:
    """Return a function that tells whether a text is a part of a mark, from its beginning."""
    return frozenset(mark[:size] for mark in marks for size in range(1, len(mark))).__contains__


_starts_message_end = _beginnings_of(*_MESSAGE_ENDS)


def _may_end_message(text: str) -> bool:
    return _starts_message_end(text) or _may_become_header(text)


def _may_become_header(text: str) -> bool:
    if len(text) > _MAX_HEADER or "\n" in text or _HEADER.match(text):
        return False
    return any(start.startswith(text) or text.startswith(start) for start in _HEADER_STARTS)


def _ends_thought(before: str, marks: Marks, behind: str) -> bool:
    """Return whether a closing mark is at the end of a line, outside of code."""
    line_before = before.rpartition("\n")[2]
    rest_of_line = behind.lstrip(" \t\r")
    is_end = not rest_of_line or rest_of_line.startswith("\n")
    if marks.is_token:  # the answer may start right behind it
        is_end = is_end or behind[0].isalnum() or behind.startswith(marks.start or "\n")
    # a blank before the mark is that of a sentence, such as "then it writes </think>"
    is_in_sentence = line_before.endswith((" ", "\t"))
    is_in_code = line_before.count("`") % 2 == 1 or unclosed_fence(before) is not None
    return is_end and marks.may_close_alone and not is_in_sentence and not is_in_code
