"""Beginnings of answers, which models continue.

An answer may begin with the text before a connection broke, or with words of the user. It may also
begin with its tokens up to one that the user has replaced. With *prefill*, this beginning is the
last message of the request, and the server lets the model write on. Without prefill, a prompt
quotes the end of the beginning and asks the model to continue it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import RequestInvalid
from lmchat.servers.products import product_named
from lmchat.servers.target import Target
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    Role,
    TextPart,
    text_message,
)
from lmchat.sessions.tokens import TokenProbabilities

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word "
    "if need be. Its last words are below: do not repeat them, write what follows them. "
    "No greeting, no comment, no code fence that is open already."
)
QUOTED_END_CHARS = 60  # length of the end of an answer in the prompt to continue it
NO_PROBABILITIES = (
    "This answer has no probabilities. "
    "Type /set logprobs 5, and the next answers have those of each word."
)

_MOST_CHARS = 100
_LEAST_CHARS = 3  # of a known word behind the blank; a shorter one may be the end of another word
_WORD = re.compile(r"\w+")
_COMMON_WORDS = frozenset(
    _WORD.findall(
        "and are as at but by can for from has have in into is it its of on or than that the their "
        "then there these they this to was were when which while will with you your "
    )
)
_LAST_WORD = re.compile(r"\w{1,99}$")
_FIRST_WORD = re.compile(r"\w{1,99}")
# the letters of Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese, which have no blanks
_JOINED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)


class Beginning(Struct, frozen=True, kw_only=True):
    """The beginning of an answer, which the model is to continue."""

    message: ChatMessage  # an answer whose text, and thought, are to be continued
    choices: tuple[TokenProbabilities, ...] = ()  # of its tokens, as far as they are known
    is_exact: bool = False
    """Whether it is sent with prefill or not at all, as words of the user are continued exactly."""
    is_first_words: bool = False  # whether it is words from `/start`, not from an answer

    @classmethod
    def of_words(cls, words: str) -> Beginning | None:
        """Return the user's first words as a beginning; None if they are empty."""
        if not words:
            return None
        message = text_message(Role.ASSISTANT, words)
        return cls(message=message, is_exact=True, is_first_words=True)

    @classmethod
    def of_answer(cls, answer: ChatMessage) -> Beginning:
        """Return the beginning with which an answer is continued: its text so far.

        Blanks at the end of the user's words are left out (R-43): the model itself writes the blank
        before its next word.
        """
        stats = answer.stats
        if stats is not None and stats.ends_with_edit:  # such an answer has only a text
            answer = replace(answer, parts=(TextPart(text=answer.text.rstrip()),))
        # an edited answer has words of the user and is continued exactly, even if a model has added
        # to it
        return cls(message=answer, is_exact=stats is not None and stats.is_edited)

    def can_prefill(self, target: Target) -> bool:
        """Whether the server continues it as the last message of a request.

        Some servers continue a text, but not an answer that has only a thought.
        """
        product = product_named(target.product)
        return product.can_prefill if self.message.text else product.can_prefill_thought


def needs_blank(before: str, after: str, texts: Iterable[str]) -> bool:
    """Whether a blank is missing between an answer that broke off and what a model wrote on.

    It is missing where both sides are words, and neither has one. But the answer may have broken
    off within a word: then neither side is a word of the texts of the session, or a common one, or
    the joined letters begin a word of the texts. Nothing is added in code, within a number, and in
    scripts that have no blanks between words.
    """
    match = _LAST_WORD.search(before[-_MOST_CHARS:]), _FIRST_WORD.match(after)
    if match[0] is None or match[1] is None:
        return False
    left, right = match[0].group(), match[1].group()
    is_code = before.count("```") % 2 or before.rpartition("\n")[2].count("`") % 2
    is_number = left[-1].isdigit() and right[0].isdigit()
    if is_code or is_number or _JOINED.match(left[-1]) or _JOINED.match(right[0]):
        return False
    # some of the texts are, or quote, the answer that broke off: its last letters are no word there
    known_text = " ".join(text.rstrip().removesuffix(left) for text in texts).lower()
    words = set(_WORD.findall(known_text))
    joined = f"{left}{right}".lower()
    if any(word.startswith(joined) for word in words):
        return False
    if left.islower() and right[0].isupper():
        return True
    words |= _COMMON_WORDS
    return left.lower() in words or (len(right) >= _LEAST_CHARS and right.lower() in words)


def has_text_to_continue(message: ChatMessage) -> bool:
    """Return whether an unfinished answer has text or reasoning that the model can continue.

    Return False for a failed answer, which is regenerated instead.
    """
    return bool(message.text or message.reasoning) and message.state is not AnswerState.FAILED


def require_prefill(target: Target, beginning: Beginning | None = None) -> None:
    """Raise `RequestInvalid` if the server of a target cannot continue words of the user.

    Some servers can continue a text but not a thought. `beginning` None stands for any text.
    """
    product = product_named(target.product)
    can_prefill = beginning.can_prefill(target) if beginning else product.can_prefill
    if not can_prefill:
        raise RequestInvalid(
            f"{product.subject} cannot continue a text that you have written.",
            hint="Use a model of llama.cpp, Jan, Ollama or the built-in engine.",
            kind="unsupported",
        )
