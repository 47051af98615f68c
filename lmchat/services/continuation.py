"""Continuation of an unfinished answer: by prefill, or by a prompt that asks for what follows."""

from __future__ import annotations

import re

from lmchat.domain.event import ReasoningDelta, Rethought, StreamEvent, StreamFinished, TextDelta
from lmchat.domain.message import ChatMessage
from lmchat.domain.product import Product

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word "
    "if need be: first repeat its last words, which stand below, then write what follows them. "
    "No greeting, no comment, no code fence that is open already."
)
ANCHOR_CHARS = 60  # of the end of the answer that is to be repeated
_BUFFER_CHARS = 160  # a greeting or a fence may come before the repeated words
_SEARCHED_CHARS = 4_000  # of an answer that are compared with what the model repeats
_SURE_LETTERS = 5  # repeated letters that cannot be an accident
_LEAST_LETTERS = 3  # the same where exactly the words come that were asked for


def can_prefill(product: Product, continued: ChatMessage) -> bool:
    """Whether a server continues when an answer is the last message that it gets."""
    facts = product.facts
    return facts.can_prefill if continued.text else facts.can_prefill_thought


def last_words(text: str) -> str:
    """Return the last words of an answer, to be repeated before the new text."""
    whole = text.rstrip()
    end = whole[-ANCHOR_CHARS:]
    if len(whole) <= ANCHOR_CHARS:
        return end
    words = end.partition(" ")[2].lstrip()  # without the word that was cut
    return words if len(words) > ANCHOR_CHARS // 2 else end


class Continuation:
    """Filter for the events of a stream that continues an answer."""

    def __init__(self, continued: ChatMessage, *, is_prefilled: bool) -> None:
        continues_thought = is_prefilled and not continued.text
        self._text = continued.text
        self._is_prefilled = is_prefilled
        self._is_new_thought = bool(continued.reasoning) and not continues_thought
        self._gap = "\n\n"[: 2 - continued.reasoning[-2:].count("\n")]
        self._buffer = ""
        self._is_joined = not continued.text

    def feed(self, event: StreamEvent) -> tuple[StreamEvent, ...]:
        """Return what an event becomes; text is held back while it may be a repetition."""
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
                self._is_joined = not is_thought or not self._text  # text follows a thought
                return (*before, event)
            case StreamFinished():
                return (*self.close(), event)
            case _:
                return (event,)

    def close(self) -> tuple[StreamEvent, ...]:
        """Return what was held back, without what it repeats."""
        if not self._buffer:
            return ()
        if self._is_prefilled:
            fresh = self._buffer.removeprefix(self._text)
        else:
            fresh = _following(self._text, self._buffer)
        self._buffer = ""
        self._is_joined = True
        return (TextDelta(text=fresh, pieces=0),) if fresh else ()

    def _may_repeat(self) -> bool:
        if self._is_prefilled:  # some servers repeat what they were given
            return self._text.startswith(self._buffer)
        return len(self._buffer) < _BUFFER_CHARS or self._buffer.strip() in self._text


def _following(text: str, fresh: str) -> str:
    """Return a new text without what it repeats of the end of the old one."""
    base = text.rstrip()
    head = fresh.lstrip()
    line_starts = [found.end() for found in re.finditer(r"\n\s*", head[:_BUFFER_CHARS])]
    for place in (0, *line_starts):
        length = _overlap(base, head[place:])
        if length:
            return head[place + length :].removeprefix(text[len(base) :])
    return fresh


def _overlap(base: str, head: str) -> int:
    """Return the length of the longest unique end of the text that `head` begins with."""
    searched = min(len(head), _SEARCHED_CHARS)
    for start in (0, *range(max(len(base) - searched, 0), len(base))):
        end = base[start:]
        is_in_word = start > 0 and end[0].isalnum() and base[start - 1].isalnum()
        is_repeated = head.startswith(end) and base.find(end) == start
        if is_repeated and not is_in_word and _is_no_accident(base, end):
            return len(end)
    return 0


def _is_no_accident(base: str, end: str) -> bool:
    letters = sum(char.isalnum() for char in end)
    is_wanted = end == last_words(base)
    return letters >= (_LEAST_LETTERS if is_wanted else _SURE_LETTERS)
