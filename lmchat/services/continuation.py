"""Continuation of an unfinished answer: the request for it, and its text without what is there already.

A server that supports prefill writes on from the last character. Any other is told to repeat the last words
first; what it sends is held back until it is clear where it begins to be new.
"""

from __future__ import annotations

import re

from lmchat.domain.event import (
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
)
from lmchat.domain.message import ChatMessage
from lmchat.domain.server import Product
from lmchat.text import open_fence

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word if need be: "
    "first repeat its last words, which stand below, then write what follows them. No greeting, no comment, "
    "no code fence that is open already."
)
"""Asked where a server cannot take up an answer by itself; the last words follow."""
_PREFILL = frozenset({Product.LLAMA_CPP, Product.JAN, Product.BUILT_IN})
"""Servers that continue the last message when it is the assistant's."""
_PREFILL_THOUGHTS = frozenset({Product.LLAMA_CPP, Product.BUILT_IN})
"""Of these, the ones that continue a thought that has no text yet."""
ANCHOR_CHARS = 60
_SEARCHED_CHARS = 4_000
"""How far back a repetition may begin; a whole answer is recognised beside it."""
_SURE_LETTERS = 5
_FEW_LETTERS = 3
_ECHO_CHARS = 16
_GREETINGS = ("sure", "certainly", "of course", "okay", "absolutely", "here", "continuing", "sorry")
_GREETING = re.compile(rf"(?:{'|'.join(_GREETINGS)})\b[^\n]{{0,120}}(\n+|$)", re.IGNORECASE)
_FENCE = re.compile(r"(?:`{3,}|~{3,})[ \t]*(\w[^\n]*)?(\n|$)|[`~]{1,2}$")


def can_prefill(product: Product, begun: ChatMessage) -> bool:
    """Whether a server writes on when an answer is the last message that it gets."""
    return product in (_PREFILL if begun.text else _PREFILL_THOUGHTS)


def anchor(text: str) -> str:
    """Return the last words of an answer, to be repeated before it goes on."""
    whole = text.rstrip()
    end = whole[-ANCHOR_CHARS:]
    words = end.partition(" ")[2].lstrip()
    return words if len(whole) > ANCHOR_CHARS and len(words) > ANCHOR_CHARS // 2 else end


class Continuation:
    """Filter for the events of a stream that continues an answer."""

    def __init__(self, begun: ChatMessage, *, is_prefilled: bool) -> None:
        self._text = begun.text
        self._is_prefilled = is_prefilled
        self._is_new_thought = bool(begun.reasoning) and not (is_prefilled and not begun.text)
        self._gap = "\n\n"[: 2 - begun.reasoning[-2:].count("\n")]
        self._held, self._pieces = "", 0
        self._is_joined = not begun.text

    def feed(self, event: StreamEvent) -> tuple[StreamEvent, ...]:
        """Take an event; return what belongs to the answer, as far as that is clear."""
        match event:
            case TextDelta(text=text, pieces=pieces) if not self._is_joined:
                self._held += text
                self._pieces += pieces
                return self._take(is_all=False)
            case ReasoningDelta(text=text, pieces=pieces) if self._is_new_thought:
                self._is_new_thought = False
                return (ReasoningDelta(text=self._gap + text.lstrip("\n"), pieces=pieces),)
            case Rethought(is_thought=is_thought):
                before = self.close()
                self._is_joined = not (is_thought and self._text)  # the text behind a thought is not joined
                return (*before, event)
            case RefusalDelta() | ToolCallDelta() | StreamFinished():
                return (*self.close(), event)
            case _:
                return (event,)

    def close(self) -> tuple[StreamEvent, ...]:
        """Return what was held back, however the stream ended."""
        return self._take(is_all=True) if self._held else ()

    def _take(self, *, is_all: bool) -> tuple[StreamEvent, ...]:
        find_new = _without_echo if self._is_prefilled else _without_repetition
        fresh = find_new(self._text, self._held, is_all=is_all)
        if fresh is None:
            return ()
        pieces, self._pieces = self._pieces, 0
        self._held, self._is_joined = "", True
        return (TextDelta(text=fresh, pieces=pieces),) if fresh else ()


def _without_echo(text: str, said: str, *, is_all: bool) -> str | None:
    """Return what a prefilled server adds: some send what they were given once more."""
    if len(text) >= _ECHO_CHARS and said.startswith(text):
        return said[len(text) :]
    may_echo = len(text) >= _ECHO_CHARS and text.startswith(said)
    return None if may_echo and not is_all else said


def _without_repetition(text: str, said: str, *, is_all: bool) -> str | None:
    """Return what of `said` follows the text; None where more of it has to be seen first."""
    base = text.rstrip()
    bare = _without_opening(text, said)
    for head in (said.lstrip(), (bare or "").lstrip()):
        if not is_all and (bare is None or _may_repeat(base, head)):
            return None
        if length := _repeated(base, head):
            blanks, rest = text[len(base) :], head[length:]
            return None if blanks and not rest.strip() and not is_all else rest.removeprefix(blanks)
    return said if bare is None else bare


def _without_opening(text: str, said: str) -> str | None:
    """Return what came without a greeting and a fence that is open already; None where more has to come."""
    head = said.lstrip()
    greeting = _GREETING.match(head)
    if (greeting and not greeting[1]) or any(one.startswith(head.lower()) for one in _GREETINGS):
        return None
    if greeting:
        said, head = head[greeting.end() :], head[greeting.end() :].lstrip()
    fence = _FENCE.match(head) if open_fence(text) is not None else None
    if fence is None:
        return said
    if not fence[2]:
        return None
    begins_line = text.endswith("\n") or (not greeting and "\n" in said[: len(said) - len(head)])
    if begins_line and not fence[1]:
        return said  # it ends the block
    return head[fence.end() :] if text.endswith("\n") else f"\n{head[fence.end() :]}"


def _may_repeat(base: str, head: str) -> bool:
    """Whether what has come may be the beginning of a repetition."""
    place = base.find(head, max(len(base) - _SEARCHED_CHARS, 0))
    return not head or 0 <= place < len(base) - len(head) or (base != head and base.startswith(head))


def _repeated(base: str, head: str) -> int:
    """Return the length of the longest end of the text that `head` begins with."""
    starts: list[int] = [0, *range(max(len(base) - min(len(head), _SEARCHED_CHARS), 0), len(base))]
    for start in starts:
        if base[start] == head[:1] and _is_repetition(base, start, head):
            return len(base) - start
    return 0


def _is_repetition(base: str, start: int, head: str) -> bool:
    """Whether the end of the text is said twice, and its words do not only begin alike."""
    end = base[start:]
    if not head.startswith(end):
        return False
    letters = sum(char.isalnum() for char in end)
    is_fence = end.startswith(("```", "~~~")) and "\n" not in end
    if is_fence or (end == anchor(base) and letters >= _FEW_LETTERS):
        return True
    begins_word = start == 0 or not (end[0].isalnum() and base[start - 1].isalnum())
    return begins_word and letters >= _SURE_LETTERS and base.find(end) == start
