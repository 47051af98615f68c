"""Choices of the model: for each token of an answer, its probability and those of others.

A server reports them if the sampling option `logprobs` is set. A logprob is the natural logarithm
of a probability, 0 or below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

MAX_ALTERNATIVES = 100
"""Alternatives that are kept of a token, the likeliest first: as many as can be asked for."""
LEAST_LOGPROB = -999.0
"""Lower ones, down to minus infinity, are set to this."""
HALF_CHARACTER = "\ufffd"
"""In a token: bytes that are no whole characters."""


class Alternative(Struct, frozen=True, array_like=True, gc=False):
    """A token that the model could have chosen."""

    token: str
    logprob: float


class TokenChoice(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A token that was chosen, and what else the model could have chosen in its place."""

    token: str
    logprob: float
    text: str
    """What the answer got with it, in most cases the token.

    It is longer if the server has not reported the tokens before this one, such as the first half
    of a character. It is empty if the text came with a later token.
    """
    is_thought: bool = False
    top: tuple[Alternative, ...] = ()
    """The likeliest tokens, this one among them if it is likely enough."""

    @property
    def text_before(self) -> str:
        """The part of `text` that came with earlier tokens, which the server has not reported.

        It is all of `text` if that does not end with the token.
        """
        return self.text.removesuffix(self.token) if self.token else self.text


def probability(logprob: float) -> float:
    """Return a probability, from 0 to 1."""
    return math.exp(min(logprob, 0.0))


def count_probabilities(choices: Sequence[TokenChoice]) -> int:
    """Return how many probabilities some choices hold, to limit their memory."""
    return sum(1 + len(choice.top) for choice in choices)


def choices_json(choices: Sequence[TokenChoice]) -> list[dict[str, Any]]:
    """Return the choices of the tokens of an answer as JSON, without those of its thought."""
    return [
        {
            "token": choice.token,
            "logprob": choice.logprob,
            "top": [
                {"token": alternative.token, "logprob": alternative.logprob}
                for alternative in choice.top
            ],
        }
        for choice in choices
        if not choice.is_thought
    ]
