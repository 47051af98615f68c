"""Reader of the probabilities of tokens, which come with the chunks of an answer."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from lmchat.base.json_values import JsonObject, dict_or_empty, dicts_in, str_or_empty
from lmchat.core.servers.events import ReasoningDelta, TextDelta
from lmchat.core.servers.stream.chunk import Piece
from lmchat.core.sessions.tokens import (
    LEAST_LOGPROB,
    MAX_ALTERNATIVES,
    Alternative,
    TokenProbabilities,
)

_MAX_TOKEN_CHARS = 1000


class LogprobReader:
    """Reader of probabilities; tells which text came with each token.

    Of the tokens of one character, llama.cpp reports only the last, and it leaves out tokens that
    it adds itself. So a token may have more text than its own.
    """

    def __init__(self) -> None:
        self._has_started = False
        self._text = ""  # for which no token was reported yet
        self._is_thought = False  # of that text

    def read(self, logprobs: object, pieces: Iterable[Piece]) -> tuple[TokenProbabilities, ...]:
        """Return the tokens of a chunk, which has these pieces.

        They share the text since the last one: each takes its own characters from the beginning of
        the rest, or nothing if others are there. What is left belongs to the last token.
        """
        if not (logprobs or self._has_started):
            return ()
        self._has_started = True
        for piece in pieces:
            if not isinstance(piece, TextDelta | ReasoningDelta):
                continue
            is_thought = isinstance(piece, ReasoningDelta)
            if is_thought != self._is_thought:
                self._text = ""  # the tokens of text of the other kind are not reported any more
            self._is_thought = is_thought
            self._text += piece.text
        tokens: list[TokenProbabilities] = []
        for entry in dicts_in(dict_or_empty(logprobs).get("content")):
            token = read_token(entry)
            if token is None:
                continue
            listed = dicts_in(entry.get("top_logprobs"))
            text = token.token if self._text.startswith(token.token) else ""
            self._text = self._text[len(text) :]
            tokens.append(
                TokenProbabilities(
                    token=token.token,
                    logprob=token.logprob,
                    text=text,
                    is_thought=self._is_thought,
                    # without empty ones, such as the end of the answer
                    top=tuple(filter(None, map(read_token, listed[:MAX_ALTERNATIVES]))),
                )
            )
        if tokens:
            tokens[-1] = replace(tokens[-1], text=tokens[-1].text + self._text)
            self._text = ""
        return tuple(tokens)


def read_token(entry: JsonObject) -> Alternative | None:
    """Return None for an empty or very long token, or without a logprob."""
    text = str_or_empty(entry.get("token"))
    logprob = entry.get("logprob")
    if not text or len(text) > _MAX_TOKEN_CHARS:
        return None
    # for a probability of 0, llama.cpp sends the lowest number of a float
    if isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    return Alternative(token=text, logprob=float(min(max(logprob, LEAST_LOGPROB), 0.0)))
