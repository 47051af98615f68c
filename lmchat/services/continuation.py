"""Continuation of an unfinished answer: by prefill, or by asking for its last words and what follows."""

from __future__ import annotations

import re

from lmchat.domain.event import ReasoningDelta, Rethought, StreamEvent, StreamFinished, TextDelta
from lmchat.domain.message import ChatMessage
from lmchat.domain.product import Product

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word if need be: "
    "first repeat its last words, which stand below, then write what follows them. No greeting, no comment, "
    "no code fence that is open already."
)
ANCHOR_CHARS = 60
_BUFFER_CHARS = 160  # a greeting or a fence may come before the repeated words
_SEARCHED_CHARS = 4_000
_SURE_LETTERS, _FEWEST_LETTERS = 5, 3  # the fewest: of exactly the words that were asked for


def can_prefill(product: Product, continued: ChatMessage) -> bool:
    """Whether a server writes on when an answer is the last message that it gets."""
    facts = product.facts
    return facts.can_prefill if continued.text else facts.can_prefill_thought


def last_words(text: str) -> str:
    """Return the last words of an answer, to be repeated before the new text."""
    whole = text.rstrip()
    end = whole[-ANCHOR_CHARS:]
    words = end.partition(" ")[2].lstrip()
    return words if len(whole) > ANCHOR_CHARS and len(words) > ANCHOR_CHARS // 2 else end


class Continuation:
    """Filter for the events of a stream that continues an answer."""

    def __init__(self, continued: ChatMessage, *, is_prefilled: bool) -> None:
        self._text = continued.text
        self._is_prefilled = is_prefilled
        self._is_new_thought = bool(continued.reasoning) and not (
            is_prefilled and not continued.text
        )
        self._gap = "\n\n"[: 2 - continued.reasoning[-2:].count("\n")]
        self._buffer = ""
        self._is_joined = not continued.text

    def feed(self, event: StreamEvent) -> tuple[StreamEvent, ...]:
        match event:
            case TextDelta(text=text, pieces=pieces) if not self._is_joined:
                self._buffer += text
                held = TextDelta(text="", pieces=pieces)  # for the figures, which count what comes
                return (held,) if self._may_repeat() else (held, *self.close())
            case ReasoningDelta(text=text, pieces=pieces) if self._is_new_thought:
                self._is_new_thought = False
                return (ReasoningDelta(text=self._gap + text.lstrip("\n"), pieces=pieces),)
            case Rethought(is_thought=is_thought):
                before = self.close()
                self._is_joined = not (
                    is_thought and self._text
                )  # the text behind a thought is not joined
                return (*before, event)
            case StreamFinished():
                return (*self.close(), event)
            case _:
                return (event,)

    def close(self) -> tuple[StreamEvent, ...]:
        """Return what was held back, without what it repeats."""
        if not self._buffer:
            return ()
        fresh = self._buffer.removeprefix(self._text)
        if not self._is_prefilled:
            fresh = _following(self._text, self._buffer)
        self._buffer, self._is_joined = "", True
        return (TextDelta(text=fresh, pieces=0),) if fresh else ()

    def _may_repeat(self) -> bool:
        if self._is_prefilled:  # some servers send what they were given once more
            return self._text.startswith(self._buffer)
        return len(self._buffer) < _BUFFER_CHARS or self._buffer.strip() in self._text


def _following(text: str, said: str) -> str:
    """Return what of `said` is not the end of the text once more."""
    base, head = text.rstrip(), said.lstrip()
    places = [0, *(found.end() for found in re.finditer(r"\n\s*", head[:_BUFFER_CHARS]))]
    for place in places:
        if length := _overlap(base, head[place:]):
            return head[place + length :].removeprefix(text[len(base) :])
    return said


def _overlap(base: str, head: str) -> int:
    """Return the length of the longest unique end of the text that `head` begins with."""
    for start in (0, *range(max(len(base) - min(len(head), _SEARCHED_CHARS), 0), len(base))):
        end = base[start:]
        begins_word = start == 0 or not (end[0].isalnum() and base[start - 1].isalnum())
        if begins_word and head.startswith(end) and base.find(end) == start:
            count = sum(char.isalnum() for char in end)
            if count >= _SURE_LETTERS or (end == last_words(base) and count >= _FEWEST_LETTERS):
                return len(end)
    return 0
