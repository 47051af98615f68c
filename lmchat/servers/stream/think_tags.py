"""Separation of thought and answer in one text by marks of the model (R-17).

Each family of models has its own: `FAMILIES`, and `_HEADER` for gpt-oss.
"""

from __future__ import annotations

import re
from enum import Enum, auto

import msgspec

from lmchat.markdown.fences import unclosed_fence
from lmchat.servers.events import Rethought


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """Marks around the thoughts of a family of models."""

    open: str
    close: str
    source: str  # models, and where their marks are defined
    # `close` is a token of its own, behind which the answer may begin in the same line
    is_token: bool = True
    may_close_alone: bool = True  # a chat template may open the thought
    begin: str = ""  # around the answer behind a thought
    ends: tuple[str, ...] = ()


FAMILIES = (
    Marks(
        open="<think>",
        close="</think>",
        is_token=False,
        source="DeepSeek-R1, Qwen3, GLM, MiniMax-M2, EXAONE 4: their chat templates",
    ),
    Marks(
        open="<thinking>",
        close="</thinking>",
        is_token=False,
        may_close_alone=False,
        source="models tuned on answers of Claude: qwen-code, taggedThinkingParser.ts",
    ),
    Marks(
        open="<thought>",
        close="</thought>",
        is_token=False,
        source="EXAONE Deep: its chat template, which opens the thought",
    ),
    Marks(
        open="<reasoning>",
        close="</reasoning>",
        is_token=False,
        may_close_alone=False,
        source="Reka Flash 3: ahyatt/llm, issue 170",
    ),
    Marks(
        open="<longcat_think>",
        close="</longcat_think>",
        source="LongCat Flash Thinking: mlx-lm, tokenizer_utils.py",
    ),
    Marks(
        open="<|begin_of_thought|>",
        close="<|end_of_thought|>",
        begin="<|begin_of_solution|>",
        ends=("<|end_of_solution|>",),
        source="OpenThinker, Sky-T1: Open WebUI, DEFAULT_REASONING_TAGS",
    ),
    Marks(
        open="<seed:think>",
        close="</seed:think>",
        source="Seed-OSS: vllm/reasoning/seedoss_reasoning_parser.py",
    ),
    Marks(
        open="<mm:think>",
        close="</mm:think>",
        source="MiniMax-M3: its chat template; hermes-agent issue 8878",
    ),
    Marks(
        open="[THINK]",
        close="[/THINK]",
        source="Magistral, Ministral 3 Reasoning: special tokens of mistral-common",
    ),
    Marks(
        open="<|channel>thought",
        close="<channel|>",
        source="Gemma 4: llama.cpp, models/templates/gemma4.jinja",
    ),
    Marks(
        open="<|START_THINKING|>",
        close="<|END_THINKING|>",
        begin="<|START_RESPONSE|>",
        ends=("<|END_RESPONSE|>",),
        source="Command R7B, Command A Reasoning: their chat templates, in llama.cpp",
    ),
    Marks(
        open="<|open|>think<|sep|>",
        close="<|close|>think<|sep|>",
        begin="<|open|>response<|sep|>",
        ends=("<|close|>response<|sep|>",),
        source="Kimi K3: llama.cpp, models/templates/Kimi-K3.jinja",
    ),
    Marks(
        open="◁think▷",
        close="◁/think▷",
        source="Kimi-VL-Thinking: LLaMA-Factory, template `kimi_vl`",
    ),
    Marks(
        open="<|inner_prefix|>",
        close="<|inner_suffix|>",
        source="Apertus: llama.cpp, common/chat.cpp",
    ),
)

# Messages of gpt-oss (openai/harmony, docs/format.md): a thought is
# `<|channel|>analysis<|message|>…<|end|>`, a further message begins with `<|start|>assistant`.
_HEADER = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>(analysis|commentary|final)\b[^\n]{0,200}?<\|message\|>"
)
_HEADER_STARTS = tuple(
    f"{start}<|channel|>{channel}"
    for start in ("", "<|start|>assistant")
    for channel in ("analysis", "commentary", "final")
)
_MAX_HEADER = 256
_END_OF_MESSAGE = re.compile(rf"<\|(?:end|return|call)\|>|(?={_HEADER.pattern})")
_FINAL_ENDS = ("<|return|>", "<|end|>")

_BY_OPEN = {marks.open: marks for marks in FAMILIES}
_BY_CLOSE = {marks.close: marks for marks in FAMILIES}
_MARK = re.compile("|".join(map(re.escape, (*_BY_OPEN, *_BY_CLOSE))))
# white space, which is read again with each new part: a long run would take the square of time
_MAX_HELD = 4096

SplitPiece = tuple[bool, str]
"""Whether it is thought, and the text, which is not empty."""
_IS_THOUGHT, _IS_ANSWER = True, False


def _begun(marks: tuple[str, ...]) -> frozenset[str]:
    """Return all beginnings of marks, without the whole marks."""
    return frozenset(mark[:size] for mark in marks for size in range(1, len(mark)))


_MARKS_BEGUN = _begun((*_BY_OPEN, *_BY_CLOSE))
_MESSAGE_END_BEGUN = _begun(("<|end|>", "<|return|>", "<|call|>"))
_MAX_MARK = max(len(mark) for one in FAMILIES for mark in (one.open, one.close, *one.ends))


class _State(Enum):
    """Place in the text up to which it is read."""

    START = auto()  # only white space so far
    THOUGHT = auto()  # inside the marks
    HEADER = auto()  # behind a message of gpt-oss
    MESSAGE = auto()  # inside a message of gpt-oss that is not the answer
    UNSURE = auto()  # before the first mark: in an answer, or a thought that the template opened
    LEFTOVER = auto()  # behind a thought that came elsewhere; only closing marks since
    AFTER = auto()  # behind the closing mark; only white space since
    ANSWER = auto()


class ThinkSplitter:
    """Splitter of a text that arrives in parts; marks may be cut anywhere.

    An opening mark counts only at the beginning of the text. Other words there are answer up to the
    first mark. If that is a closing mark at the end of a line outside of code, the chat template
    had opened a thought, and a `Rethought` says that all text before was thought. Any other first
    mark is a word of the answer, and so are those behind it.
    """

    def __init__(self) -> None:
        self._state = _State.START
        self._marks = FAMILIES[0]  # of the thought
        self._begin = ""  # mark with which the answer may begin
        self._ends: tuple[str, ...] = ()  # marks of which one may end the answer
        self._ends_begun = frozenset[str]()
        self._held = ""  # a mark may begin or end in it
        self._unsure: list[str] = []  # of the state `UNSURE`
        self._has_ended = False  # by `close`
        self._readers = {
            _State.START: self._read_start,
            _State.THOUGHT: self._read_thought,
            _State.HEADER: self._read_header,
            _State.MESSAGE: self._read_message,
            _State.UNSURE: self._read_to_first_mark,
            _State.LEFTOVER: self._read_leftover,
            _State.AFTER: self._read_after,
            _State.ANSWER: self._read_answer,
        }

    def feed(self, text: str) -> list[SplitPiece | Rethought]:
        """Return the pieces that are certain; a `Rethought` corrects all earlier ones."""
        pieces: list[SplitPiece | Rethought] = []
        text = self._held + text
        self._held = ""
        while text:  # the next state reads the rest
            text = self._readers[self._state](text, pieces)
        return pieces

    def close(self) -> list[SplitPiece | Rethought]:
        """Return what was held back, but no white space behind a closing mark."""
        self._has_ended = True
        return self.feed("")

    def note_thought(self) -> list[SplitPiece | Rethought]:
        """Return what was held back: a thought came elsewhere.

        Marks are words from then on, but for closing ones at the very beginning.
        """
        if self._state in (_State.START, _State.LEFTOVER) and not self._held.strip():
            self._state = _State.LEFTOVER
            return []
        pieces = self.close()
        self._state = _State.ANSWER
        self._ends = ()
        self._has_ended = False
        return pieces

    def _read_start(self, text: str, _: list[SplitPiece | Rethought]) -> str:
        words = text.lstrip()
        if opening := _MARK.match(words):
            if marks := _BY_OPEN.get(opening[0]):
                self._marks = marks
                self._state = _State.THOUGHT
                return words[opening.end() :]
        elif _HEADER.match(words):
            self._state = _State.HEADER
            return words
        elif not self._has_ended:
            # also white space alone, behind which a mark may come
            may_become_mark = not words or words in _MARKS_BEGUN or _may_become_header(words)
            if may_become_mark and len(text) <= _MAX_HELD:
                self._held = text
                return ""
        self._state = _State.UNSURE
        return text

    def _read_thought(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        thought, mark, behind = text.partition(self._marks.close)
        if mark:
            self._begin_answer(self._marks.ends, self._marks.begin)
        else:
            thought = self._hold_begun_mark(text, _MARKS_BEGUN)
        if thought:
            pieces.append((_IS_THOUGHT, thought))
        return behind

    def _read_header(self, text: str, _: list[SplitPiece | Rethought]) -> str:
        words = text.lstrip()
        if header := _HEADER.match(words):
            is_answer = header[1] == "final"
            self._state = _State.MESSAGE
            if is_answer:
                self._begin_answer(_FINAL_ENDS)
            return words[header.end() :]
        if not words or _may_become_header(words):
            if not self._has_ended and len(text) <= _MAX_HELD:
                self._held = text
            return ""  # at the end of the text, half a header is no word of the answer
        self._state = _State.ANSWER
        return words

    def _read_message(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        end = _END_OF_MESSAGE.search(text)
        if end is None:
            thought, behind = self._hold_begun_end(text), ""
        else:
            thought, behind = text[: end.start()], text[end.end() :]
            self._state = _State.HEADER
        if thought:
            pieces.append((_IS_THOUGHT, thought))
        return behind

    def _read_leftover(self, text: str, _: list[SplitPiece | Rethought]) -> str:
        words = text.lstrip()
        mark = _MARK.match(words)
        if mark is None:
            may_become_mark = not words or words in _MARKS_BEGUN
            if may_become_mark and not self._has_ended and len(text) <= _MAX_HELD:
                self._held = text
                return ""
            self._state = _State.ANSWER
            return text
        behind = words[mark.end() :]
        rest_of_line = behind.lstrip(" \t\r")
        if not rest_of_line and not self._has_ended and len(behind) <= _MAX_HELD:
            self._held = text  # words may still follow in the line
            return ""
        # a blank behind the mark is that of a sentence, such as "</think> ends a thought"
        is_in_sentence = behind.startswith((" ", "\t")) and not rest_of_line.startswith("\n")
        marks = _BY_CLOSE.get(mark[0])
        if marks is None or (is_in_sentence and rest_of_line):
            self._state = _State.ANSWER
            return text
        self._begin_answer(marks.ends, marks.begin)
        return behind

    def _begin_answer(self, ends: tuple[str, ...], begin: str = "") -> None:
        self._state = _State.AFTER
        self._begin = begin
        self._ends = ends
        self._ends_begun = _begun(ends)

    def _read_after(self, text: str, _: list[SplitPiece | Rethought]) -> str:
        text = text.lstrip()  # they belong to neither
        begin = self._begin
        if text and text != begin and begin.startswith(text) and not self._has_ended:
            self._held = text
            return ""
        if text:
            self._state = _State.ANSWER
        return text.removeprefix(begin)

    def _read_answer(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read the answer, which a mark of `_ends` may end."""
        if self._ends:
            words = text.rstrip()
            end = next((end for end in self._ends if words.endswith(end)), "")
            if end and self._has_ended:
                text = words.removesuffix(end)
            elif end and len(text) - len(words) <= _MAX_HELD:
                self._held = text[len(words) - len(end) :]
                text = words.removesuffix(end)
            else:
                text = self._hold_begun_mark(text, self._ends_begun)
        if text:
            pieces.append((_IS_ANSWER, text))
        return ""

    def _read_to_first_mark(self, text: str, pieces: list[SplitPiece | Rethought]) -> str:
        """Read text in the state `UNSURE`; return the rest behind its first mark.

        The mark is held back until the rest of its line shows whether it ends a thought; else it is
        a word of the answer, with which the rest begins.
        """
        mark = _MARK.search(text)
        before = self._hold_begun_mark(text, _MARKS_BEGUN) if mark is None else text[: mark.start()]
        if before:
            self._unsure.append(before)
            pieces.append((_IS_ANSWER, before))
        if mark is None:
            return ""
        behind = text[mark.end() :]
        marks = _BY_CLOSE.get(mark[0])
        rest_of_line = behind.lstrip(" \t\r")  # a line may end with CR LF
        is_begun = not rest_of_line or (marks is not None and marks.begin.startswith(behind))
        if is_begun and not self._has_ended and len(behind) <= _MAX_HELD:
            self._held = mark[0] + behind  # words may still follow in the line
            return ""
        unsure = "".join(self._unsure)
        line_before = unsure.rpartition("\n")[2]
        is_end = not rest_of_line or rest_of_line.startswith("\n")
        if marks is not None and marks.is_token:  # the answer may begin right behind it
            is_end = is_end or behind[0].isalnum() or behind.startswith(marks.begin or "\n")
        # a blank before the mark is that of a sentence, such as "then it writes </think>"
        is_in_sentence = line_before.endswith((" ", "\t"))
        is_in_code = line_before.count("`") % 2 == 1 or unclosed_fence(unsure) is not None
        is_outside = not is_in_sentence and not is_in_code
        if marks is not None and marks.may_close_alone and is_end and is_outside:
            if self._unsure:  # else nothing was returned as answer
                pieces.append(Rethought())
            self._begin_answer(marks.ends, marks.begin)
            return behind
        self._state = _State.ANSWER
        return text[mark.start() :]

    def _hold_begun_end(self, text: str) -> str:
        """Hold back what may end a message of gpt-oss."""
        start = text.find("<", max(0, len(text) - _MAX_HEADER))
        while start >= 0 and not self._has_ended:
            end = text[start:]
            if end in _MESSAGE_END_BEGUN or _may_become_header(end):
                self._held = end
                return text[:start]
            start = text.find("<", start + 1)
        return text

    def _hold_begun_mark(self, text: str, begun: frozenset[str]) -> str:
        """Hold back the beginning of a mark at the end of a text."""
        if self._has_ended:
            return text
        for start in range(max(0, len(text) - _MAX_MARK), len(text)):
            if text[start:] in begun:
                self._held = text[start:]
                return text[:start]
        return text


def _may_become_header(text: str) -> bool:
    if len(text) > _MAX_HEADER or "\n" in text:
        return False
    return any(start.startswith(text) or text.startswith(start) for start in _HEADER_STARTS)
