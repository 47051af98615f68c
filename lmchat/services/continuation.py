"""Continuation of an unfinished answer: by prefill, or by a prompt that asks for what follows.

Prefill means that the unfinished answer is the last message of the request, and the server lets
the model write on. Either way, models and servers often repeat the end of the answer first.
"""

from __future__ import annotations

import re

from msgspec import Struct

from lmchat.domain.event import ReasoningDelta, Rethought, StreamEvent, StreamFinished, TextDelta
from lmchat.domain.message import ChatMessage, Role, text_message
from lmchat.domain.product import Product
from lmchat.domain.server import Target
from lmchat.errors import RequestInvalid

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word "
    "if need be: first repeat its last words, which stand below, then write what follows them. "
    "No greeting, no comment, no code fence that is open already."
)
ANCHOR_CHARS = 60  # at the end of the answer, which the model is asked to repeat
_BUFFER_CHARS = 160  # held back at first: a greeting or a fence may precede the repeated words
_SEARCHED_CHARS = 4_000  # of the end of an answer, in which repeated text is looked for
_MIN_LETTERS = 5  # fewer letters may be the same by accident
_MIN_LETTERS_OF_ANCHOR = 3  # the same for the words that the model was asked to repeat


def can_prefill(product: Product, continued: ChatMessage) -> bool:
    """Whether servers of a product write on when `continued` is the last message of a request.

    Some continue a text, but not an answer that has nothing but a thought.
    """
    facts = product.facts
    return facts.can_prefill if continued.text else facts.can_prefill_thought


def require_prefill(target: Target, continued: ChatMessage | None = None) -> None:
    """Raise `RequestInvalid` if the server of a target cannot continue words of the user.

    `continued` is the answer that has these words; None for words that are no answer yet. An answer
    may be nothing but a thought, which fewer servers can continue.
    """
    can_continue = target.product.facts.can_prefill
    if continued is not None:
        can_continue = can_prefill(target.product, continued)
    if not can_continue:
        raise RequestInvalid(
            f"{target.product.subject} cannot continue a text that you have written.",
            hint="Use a model of llama.cpp, Jan or the built-in engine.",
            kind="unsupported",
        )


class Beginning(Struct, kw_only=True):
    """The beginning of an answer, which the model is to continue, and how it is sent."""

    message: ChatMessage
    is_prefilled: bool
    """Whether the server gets it as the last message; else a prompt asks the model to go on."""
    is_exact: bool
    """Whether only prefill will do: words of the user are continued exactly, or not at all."""
    ends_thought: bool = False
    """Whether the request closes the thought that it ends with, so that the answer follows."""

    @classmethod
    def of(
        cls, target: Target, continued: ChatMessage | None, first_words: str
    ) -> Beginning | None:
        """Return the beginning of an answer: `first_words` of the user, else `continued`.

        Return None if `first_words` is empty and `continued` is None. Raises `RequestInvalid` if
        the user's words have to be continued, and the server cannot do that.
        """
        message = text_message(Role.ASSISTANT, first_words) if first_words else continued
        if message is None:
            return None
        is_exact = bool(first_words) or _is_edited(message)
        if is_exact:
            require_prefill(target, message)
        is_prefilled = can_prefill(target.product, message)
        return cls(message=message, is_prefilled=is_prefilled, is_exact=is_exact)


def _is_edited(answer: ChatMessage) -> bool:
    """Whether the user has rewritten an answer."""
    return answer.receipt is not None and answer.receipt.is_edited


def last_words(text: str) -> str:
    """Return the last words of an answer, at most 60 characters, without white space at the end.

    They begin with a whole word, unless that would leave at most 30 characters, as in Chinese.
    """
    whole = text.rstrip()
    end = whole[-ANCHOR_CHARS:]
    if len(whole) <= ANCHOR_CHARS:
        return end
    _cut_word, _, whole_words = end.partition(" ")
    whole_words = whole_words.lstrip()
    return whole_words if len(whole_words) > ANCHOR_CHARS // 2 else end


class Continuation:
    """Filter for the events of a stream that continues an answer: removes repeated text.

    The first text is held back in a buffer, until it is certain which part of it is repeated.
    """

    def __init__(
        self, continued: ChatMessage, *, is_prefilled: bool, is_all_new: bool = False
    ) -> None:
        """Create a filter; with `is_all_new`, it removes nothing, even if a text is repeated."""
        continues_thought = is_prefilled and not continued.text
        self._text = continued.text
        self._is_prefilled = is_prefilled
        self._is_new_thought = bool(continued.reasoning) and not continues_thought
        """Whether the next thought is a new paragraph below the thought of the old answer."""
        line_ends = continued.reasoning[-2:].count("\n")
        self._paragraph_break = "\n" * (2 - line_ends)
        """Line ends to add to the old thought, so that a blank line follows it."""
        self._buffer = ""  # text that is held back, because it may repeat the old answer
        self._is_past_repetition = is_all_new or not continued.text  # then text passes at once

    def feed(self, event: StreamEvent) -> tuple[StreamEvent, ...]:
        """Return the events that replace one event.

        A text that may be repeated goes into the buffer; in its place, an event without text has
        its number of tokens. The first new thought begins a paragraph below the thought of the old
        answer, unless the model continues that thought. The buffer is emptied at the end of the
        stream, and before `Rethought`, which says that all text so far was a thought, or all
        thought so far was text.
        """
        match event:
            case TextDelta(text=text, pieces=pieces) if not self._is_past_repetition:
                self._buffer += text
                # without text, for the figures: they count tokens as they arrive
                counted = TextDelta(text="", pieces=pieces)
                return (counted,) if self._may_repeat() else (counted, *self.release())
            case ReasoningDelta(text=text, pieces=pieces) if self._is_new_thought:
                self._is_new_thought = False
                paragraph = self._paragraph_break + text.lstrip("\n")
                return (ReasoningDelta(text=paragraph, pieces=pieces),)
            case Rethought(is_thought=is_thought):
                released = self.release()
                # if all was a thought, the text of the answer, which may be repeated, is to come
                self._is_past_repetition = not is_thought or not self._text
                return (*released, event)
            case StreamFinished():
                return (*self.release(), event)
            case _:
                return (event,)

    def release(self) -> tuple[StreamEvent, ...]:
        """Empty the buffer, and return its text without the repeated part as an event.

        Return no event if no text is left. Later text is passed on at once.
        """
        if not self._buffer:
            return ()
        if self._is_prefilled:  # then servers repeat all of the text, or nothing
            new_text = self._buffer.removeprefix(self._text)
        else:
            new_text = _without_repetition(self._text, self._buffer)
        self._buffer = ""
        self._is_past_repetition = True
        return (TextDelta(text=new_text, pieces=0),) if new_text else ()

    def _may_repeat(self) -> bool:
        """Whether more text is needed to tell which part of the buffer is repeated."""
        if self._is_prefilled:  # some servers repeat the whole message that they were given
            return self._text.startswith(self._buffer)
        # a repetition of the end may begin early in the old answer: only more text shows its length
        return len(self._buffer) < _BUFFER_CHARS or self._buffer.strip() in self._text


def _without_repetition(old_text: str, new_text: str) -> str:
    """Return a new text without the beginning that repeats the end of the old one.

    The repetition may begin with any line in the first 160 characters, since a line such as "Sure:"
    may precede it; such lines are removed, too. If nothing is repeated, return the text unchanged.
    """
    old = old_text.rstrip()
    spaces_after_old = old_text[len(old) :]  # the old text has them, so they may be repeated, too
    new = new_text.lstrip()
    # each line begins behind a line end, blank lines and its indentation
    line_starts = [match.end() for match in re.finditer(r"\n\s*", new[:_BUFFER_CHARS])]
    for start in (0, *line_starts):
        length = _overlap(old, new[start:])
        if length:
            return new[start + length :].removeprefix(spaces_after_old)
    return new_text


def _overlap(old: str, new: str) -> int:
    """Return how many characters at the end of `old` are the beginning of `new`; 0 if none are.

    All of `old` is tried first, then its ends of at most 4000 characters, the longest first. An end
    counts only if `old` has the same text at no other place, if it begins with a whole word, and if
    it has enough letters.
    """
    searched = min(len(new), _SEARCHED_CHARS)  # `new` cannot begin with an end longer than itself
    for start in (0, *range(max(len(old) - searched, 0), len(old))):
        end = old[start:]
        is_in_word = start > 0 and end[0].isalnum() and old[start - 1].isalnum()
        is_repeated = new.startswith(end) and old.find(end) == start
        if is_repeated and not is_in_word and _has_enough_letters(old, end):
            return len(end)
    return 0


def _has_enough_letters(old: str, end: str) -> bool:
    """Whether `end`, at the end of a text, has too many letters to be repeated by accident.

    Fewer letters are enough for the words that the model was asked to repeat.
    """
    letters = sum(char.isalnum() for char in end)
    is_anchor = end == last_words(old)
    return letters >= (_MIN_LETTERS_OF_ANCHOR if is_anchor else _MIN_LETTERS)
