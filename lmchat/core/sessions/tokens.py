"""Tokens of an answer: their probabilities, and what could have been chosen in their place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid
from lmchat.core.sessions.message import AnswerStats, ChatMessage, Part, ReasoningPart, TextPart

MAX_ALTERNATIVES = 100
"""The likeliest, as many as can be asked for."""
LEAST_LOGPROB = -999.0
"""Lower log probabilities, down to minus infinity, become this one."""
HALF_CHARACTER = "\ufffd"
"""It takes the place of bytes that are no whole character."""


class Alternative(Struct, frozen=True, array_like=True, gc=False):
    """A token that the model could have chosen."""

    token: str
    logprob: float


class TokenProbabilities(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A token that was chosen, with its alternatives."""

    token: str
    logprob: float
    text: str
    """Text that the answer got with this token, in most cases the token itself.

    It is longer if the server has not reported the tokens before, such as the first half of a
    character, and empty if the text came with a later token.
    """
    is_thought: bool = False
    top: tuple[Alternative, ...] = ()
    """The likeliest tokens; the chosen token is among them if it is likely enough."""

    @property
    def text_before(self) -> str:
        """Return the end of earlier tokens, which the server has not reported.

        With the text "né" and the token "é", it is "n". It stays if another token takes the place
        of this one.
        """
        return self.text.removesuffix(self.token)


def probability(logprob: float) -> float:
    return math.exp(min(logprob, 0.0))  # a server may send a wrong one, and `exp` overflow


def count_probabilities(tokens: Sequence[TokenProbabilities]) -> int:
    """Count them to limit their memory."""
    return sum(1 + len(token.top) for token in tokens)


class AnswerTokens:
    """The tokens of an answer with their alternatives, and their place in its text."""

    def __init__(self, answer: ChatMessage, tokens: Sequence[TokenProbabilities]) -> None:
        self.answer = answer
        self.tokens = tokens
        self.text_start = self._start_of_tokens(is_thought=False)
        """Index in the text of the answer at which the text of its tokens starts.

        Above 0 if another answer or the user wrote what is before it; None if they are not found.
        """
        self.thought_start = self._start_of_tokens(is_thought=True)
        """The same for the thought of the answer."""

    def _start_of_tokens(self, *, is_thought: bool) -> int | None:
        whole = self.answer.reasoning if is_thought else self.answer.text
        # what an answer continues comes before its tokens
        start = whole.rfind(_text_of(self.tokens, is_thought=is_thought))
        return None if start < 0 else start

    def prefill_with(
        self, index: int, token: str
    ) -> tuple[ChatMessage, tuple[TokenProbabilities, ...]]:
        """Return the answer up to `index`, then `token`, an alternative; and its tokens.

        Raises `RequestInvalid` if the text before it is not exactly known, or if `token` is only a
        part of a character.
        """
        earlier = self.tokens[:index]
        old_token = self.tokens[index]
        whole, start = self.answer.text, self.text_start
        if old_token.is_thought:
            whole, start = self.answer.reasoning, self.thought_start
        if start is None or HALF_CHARACTER in token:
            raise RequestInvalid(
                "The text of this token is not exactly known.",
                next_step="Choose another one, or rewrite the answer with E.",
            )
        text_of_token = old_token.text_before + token
        logprobs = {other.token: other.logprob for other in old_token.top}
        logprob = logprobs.get(token, old_token.logprob)  # `top` may lack the answer's own token
        new_token = replace(old_token, token=token, logprob=logprob, text=text_of_token)
        text = whole[:start] + _text_of(earlier, is_thought=old_token.is_thought) + text_of_token
        parts: tuple[Part, ...] = (ReasoningPart(text=text),)
        if not old_token.is_thought:  # the thought, which came before the text, stays
            thoughts = [part for part in self.answer.parts if isinstance(part, ReasoningPart)]
            parts = (*thoughts, TextPart(text=text))
        # those of the old answer are not true of the new version
        message = replace(
            self.answer,
            parts=parts,
            stats=AnswerStats(is_edited=True, completion_tokens=len(earlier) + 1),
            failure=None,
        )
        return message, (*earlier, new_token)


def _text_of(tokens: Sequence[TokenProbabilities], *, is_thought: bool) -> str:
    return "".join(token.text for token in tokens if token.is_thought == is_thought)
